"""Settings of the whole suite; what tests share stands in helpers.py, published.py and reference.py."""

try:
    import hypothesis
except ImportError:  # the file that needs it skips itself
    pass
else:
    hypothesis.settings.register_profile("fastbp", deadline=None, max_examples=60, derandomize=True, database=None)
    hypothesis.settings.load_profile("fastbp")
