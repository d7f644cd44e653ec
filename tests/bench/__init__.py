"""Benchmarks: the library beside its peers, in one run. See `python -m tests.bench --help`."""
