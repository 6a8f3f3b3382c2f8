"""`python -m bench.tabular`: fastbp.tabular against gradient boosting and other networks, each with its defaults."""
