"""Measuring mdsl against other programs on the same system with the same physics: `python -m benchmarks --help`."""
