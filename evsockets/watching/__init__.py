"""Watching a run without changing it: reports, timelines, metrics."""
