"""Measurements of the product against its peers, as ratios in one run: python -m tests.bench NAME."""
