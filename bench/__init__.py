"""Measures lanpost beside its peers, in one run: `python -m bench --help`, and README.md."""
