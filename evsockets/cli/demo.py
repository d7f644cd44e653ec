"""`evsockets demo`: local servers of every temper, all asked at once, and what that proves."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from typing import Any

from .. import StreamContext
from ..text import human_seconds, printable
from .common import make_executor
from .demo_servers import DemoServers
from .fetch import print_requests
from .gathering import Gathering, configuration
from .options import add_engine_option
from .progress import Progress
from .timeline import HELP, RequestsTimeline

#: Seconds without a byte after which the client gives up, and which the slow servers take for an answer.
_TIMEOUT = 1.5
_PACE = 1.0

#: How often each kind of server is asked, and how that has to end.
_PLAN = (
    ("fast", 4, "complete"),
    ("slow", 3, "complete"),
    ("TLS", 2, "complete"),
    ("silent", 2, "timed out (reading)"),
    ("closed", 1, "no connection"),
)


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="start local servers (fast, slow, TLS, silent), ask all at once, and show what that proves",
        description="Needs no network, no set-up and no dependency; takes two seconds.",
    )
    add_engine_option(parser)
    parser.add_argument("--timeline", metavar="FILE.svg", help=HELP)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if every request ended as planned, 1 otherwise, 130 if interrupted."""
    timeline = RequestsTimeline(arguments.timeline)
    with (
        make_executor(arguments.engine, configuration(5.0, _TIMEOUT)) as executor,
        DemoServers(_PACE) as servers,
    ):
        engine = executor.engine.name
        gathering = Gathering(executor)
        if arguments.timeline is not None:
            executor.with_event_handler(timeline)
        context = StreamContext(ca_file=servers.ca_file) if servers.ca_file else None
        planned = []
        for kind, times, outcome in _PLAN:
            for _ in range(times if kind in servers.addresses else 0):
                address = servers.addresses[kind]
                host = address.partition("://")[2]
                head = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii")
                trust = context if kind == "TLS" else None
                gathering.add(address, send=head, stream_context=trust).label = f"{address} ({kind})"
                planned.append(outcome)
        print(
            f"evsockets demo on engine {engine}: {len(planned)} requests "
            f"to {len(servers.addresses)} local servers"
        )
        print(
            f"  (slow ones take {_PACE:g} s, the silent one never answers; the io time-out is {_TIMEOUT:g} s)"
        )
        sys.stdout.flush()
        with Progress(gathering) as progress:
            gathering.run(progress.update)
    print_requests(gathering.requests)
    missing = servers.left_out
    if importlib.util.find_spec("rich") is None:
        missing.append("colours and progress bars (they need rich)")
    for what in missing:
        print(f"Left out: {what}.")
    if missing:
        print("To have it all: pip install 'evsockets[cli]'")
    status = 130 if gathering.interrupted else _conclude(gathering, engine, planned)
    timeline.save()
    if arguments.timeline:
        print(printable(f"The timeline is in {arguments.timeline}."))
    return status


def _conclude(gathering: Gathering, engine: str, expected: list[str]) -> int:
    """Print the proof: all together took what the slowest time-out takes, not the sum of all."""
    wrong = [
        f"{request.label}: {request.outcome} instead of {outcome} ({request.error or 'no error'})"
        for request, outcome in zip(gathering.requests, expected, strict=True)
        if request.outcome != outcome
    ]
    if wrong:
        print("\nNot as planned:", *map(printable, wrong), sep="\n  ", file=sys.stderr)
        return 1
    alone = sum(request.log.seconds() or 0.0 for request in gathering.requests)
    print(
        f"\nOne after another they would have taken {human_seconds(alone)}.\n"
        f"All at once, in one thread, on engine {engine}: {human_seconds(gathering.seconds)},\n"
        f"as long as the slowest time-out ({human_seconds(_TIMEOUT)}), which ended the silent ones."
    )
    return 0
