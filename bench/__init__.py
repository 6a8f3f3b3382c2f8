"""The benchmark: fastbp side by side with every installed peer (`python -m bench`; see README.md)."""
