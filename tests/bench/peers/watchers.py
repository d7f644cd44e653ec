"""The handler that listens to what a peer on evsockets does, and to how much of it."""

from __future__ import annotations

from evsockets import Event, PrometheusEventHandler, RequestExecutor, Timeline

from .job import Job

seen = 0


def count_event(event: Event) -> None:
    """Take note of an event, whatever it is."""
    global seen
    seen += 1


def executor_of(job: Job) -> RequestExecutor:
    """An executor on the engine that the flavour names, as `engine` or `engine+watcher`. With `--events` a
    global handler listens to every event of every socket, so that each is built and delivered."""
    engine, _, watcher = job.flavour.partition("+")
    executor = RequestExecutor(engine or None)
    if job.events:
        executor.with_event_handler(count_event)
    if watcher == "timeline":
        executor.with_event_handler(Timeline())
    elif watcher == "prometheus":
        executor.with_event_handler(PrometheusEventHandler())
    return executor
