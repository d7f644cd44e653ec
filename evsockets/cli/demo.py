"""`evsockets demo`: requests to fast, slow, silent and closed local servers, all at once."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .. import StreamContext, create_engine
from ..text import human_seconds, printable
from .asking import Plan
from .common import naming_engines
from .options import add_engine_option
from .timeline import HELP, RequestsTimeline

if TYPE_CHECKING:
    from .results import Result
    from .rounds import Rounds

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
        help="start local servers (fast, slow, TLS, silent), and send requests to all of them at once",
        description="Needs no network, no set-up and no dependency; takes two seconds.",
        epilog="example: evsockets demo --engine selectors --timeline demo.svg",
    )
    add_engine_option(parser)
    parser.add_argument("--timeline", metavar="FILE", help=HELP)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if every request ended as planned, 1 otherwise, 130 if interrupted."""
    from importlib.util import find_spec

    from .demo_servers import DemoServers
    from .outputs import print_results
    from .progress import Progress
    from .rounds import Rounds
    from .targets import Targets

    timeline = RequestsTimeline(arguments.timeline)
    with naming_engines():
        engine = create_engine(arguments.engine)
    with closing(engine), DemoServers(_PACE) as servers:
        targets = Targets([], [], None, web=False, most=1)
        planned = []
        for kind, times, outcome in _PLAN:
            for _ in range(times if kind in servers.addresses else 0):
                targets.add(servers.addresses[kind], f"{servers.addresses[kind]} ({kind})")
                planned.append(outcome)
        keywords = {
            "engine": engine,
            "stream_context": StreamContext(ca_file=servers.ca_file) if servers.ca_file else None,
            "connection_timeout": 5.0,
            "io_timeout": _TIMEOUT,
        }
        rounds = Rounds(
            targets, Plan(b"GET / HTTP/1.0\r\n\r\n"), keywords, timeline if arguments.timeline else None
        )
        print(
            f"evsockets demo on engine {engine.name}: {len(planned)} requests "
            f"to {len(servers.addresses)} local servers"
        )
        print(
            f"  (slow ones take {_PACE:g} s, the silent one never answers; the io time-out is {_TIMEOUT:g} s)"
        )
        sys.stdout.flush()
        results: list[Result] = []
        with Progress(rounds) as progress:

            def settle(result: Result) -> bool:
                results.append(result)
                progress.ended(result)
                return True

            rounds.run(settle, progress.update)
    results.sort(key=lambda result: result.ask.number)
    print_results(results, sys.stdout)
    missing = servers.left_out
    if find_spec("rich") is None:
        missing.append("colours and progress bars (they need rich)")
    for what in missing:
        print(f"Left out: {what}.")
    if missing:
        print("To have it all: pip install 'evsockets[cli]'")
    if rounds.signal is not None:
        status = 128 + rounds.signal
    else:
        status = _conclude(results, rounds, planned)
    timeline.save()
    if arguments.timeline:
        print(printable(f"The timeline is in {arguments.timeline}."))
    return status


def _conclude(results: list[Result], rounds: Rounds, expected: list[str]) -> int:
    """Print the proof: all together took what the slowest time-out takes, not the sum of all."""
    wrong = [
        f"{result.ask.label}: {result.outcome} instead of {outcome} ({result.error or 'no error'})"
        for result, outcome in zip(results, expected, strict=True)
        if result.outcome != outcome
    ]
    if wrong:
        print("\nNot as planned:", *map(printable, wrong), sep="\n  ", file=sys.stderr)
        return 1
    alone = sum(result.seconds or 0.0 for result in results)
    print(
        f"\nOne after another they would have taken {human_seconds(alone)}.\n"
        f"All at once, in one thread, on engine {rounds.engine}: {human_seconds(rounds.seconds)},\n"
        f"as long as the slowest time-out ({human_seconds(_TIMEOUT)}), which ended the silent ones."
    )
    return 0
