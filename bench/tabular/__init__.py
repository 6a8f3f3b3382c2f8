"""`python -m bench.tabular`: fastbp.tabular beside gradient boosting and other networks, each at its defaults."""
