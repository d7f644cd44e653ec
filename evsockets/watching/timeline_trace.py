"""A timeline as Trace Event JSON, the format that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..text import printable
from .timeline_record import LeftOut, Record


def trace(records: Sequence[Record], left_out: LeftOut, now: float) -> Iterator[str]:
    """Yield the document in pieces: each socket is a thread with its phases as slices ("X") and its end as an
    instant ("i"), in microseconds since the first began; under `otherData` who was left out."""
    origin = min((record.times[0] for record in records), default=0.0)
    others = {
        "clock": "microseconds since the first socket began",
        "left_out": {
            printable(outcome): {"sockets": number, "seconds": seconds}
            for outcome, (number, seconds) in left_out.outcomes.items()
        },
    }
    yield f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(others)}, "traceEvents": [\n'
    process = os.getpid()
    yield json.dumps({"ph": "M", "name": "process_name", "pid": process, "args": {"name": "evsockets"}})
    for number, record in enumerate(sorted(records, key=lambda one: one.times[0]), 1):
        for event in _events(record, origin, now):
            yield ",\n" + json.dumps({"pid": process, "tid": number, **event})
    yield "\n]}\n"


def _events(record: Record, origin: float, now: float) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "thread_name", "args": {"name": printable(record.label)}}
    about = {"outcome": printable(record.outcome or "running")}
    for phase, began, ended in record.phases(now):
        yield {
            "ph": "X", "name": phase, "cat": "socket", "args": about,
            "ts": _microseconds(began - origin), "dur": _microseconds(ended - began),
        }  # fmt: skip
    if record.outcome:
        yield {
            "ph": "i", "s": "t", "name": about["outcome"], "cat": "end",
            "ts": _microseconds(record.end - origin),
            "args": {"why": printable(record.detail), "sent": record.sent, "received": record.received},
        }  # fmt: skip


def _microseconds(seconds: float) -> float:
    return round(seconds * 1e6, 3)
