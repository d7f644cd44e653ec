"""Executors made and closed, `--count` of them, after some to warm up."""

from __future__ import annotations

from evsockets import RequestExecutor

from .job import Job, Stopwatch, parse_job


def make(job: Job) -> None:
    """On the engine that the flavour names."""
    for _ in range(20):
        RequestExecutor(job.flavour).close()
    watch = Stopwatch()
    for _ in range(job.count):
        RequestExecutor(job.flavour).close()
    watch.report(job.count)


if __name__ == "__main__":
    make(parse_job())
