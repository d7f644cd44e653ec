"""`evsockets fetch ADDRESS...`: ask many peers at once, and say what became of each."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from .. import ConstantLimitationSolver, FixedLengthFramePicker, FramePicker, MarkerFramePicker
from ..text import human_bytes, human_seconds, one_line, printable
from .common import CommandError, make_executor, raise_descriptor_limit
from .gathering import Gathering, Request, configuration
from .options import (
    add_engine_option,
    authorities,
    count,
    escaped_bytes,
    parsed,
    path_of_http,
    seconds,
)
from .phases import PHASES
from .progress import Progress
from .table import print_table
from .timeline import HELP, RequestsTimeline

_EPILOG = r"""
Addresses are scheme://target: tcp://host:port, tls://host:port (tlsv1.2, tlsv1.3 pin the version),
udp://host:port, unix:///path, unix://@abstract, udg:///path.

  evsockets fetch --http / tcp://localhost:80 tls://example.org:443
  evsockets fetch --send 'PING\r\n' --until '\r\n' tcp://localhost:6379

The exit status is 0 if all succeeded, 1 if any failed, 2 if the command line was wrong.
"""

#: What the schemes of URLs mean.
_WEB = {"http": ("tcp", 80), "https": ("tls", 443)}


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "fetch",
        help="ask many addresses at once and print a table of what became of each",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "addresses", nargs="+", metavar="ADDRESS", help="whom to ask; may be given repeatedly"
    )
    what = parser.add_argument_group("what to send and to read")
    send = what.add_mutually_exclusive_group()
    send.add_argument(
        "--send",
        type=escaped_bytes,
        metavar="TEXT",
        help=r"bytes to send first; \r \n \t \0 \\ and \xHH are understood (default: nothing)",
    )
    send.add_argument(
        "--http",
        type=path_of_http,
        metavar="PATH",
        help="send an HTTP/1.1 GET for this path, with each address' own host name",
    )
    until = what.add_mutually_exclusive_group()
    until.add_argument(
        "--until", type=escaped_bytes, metavar="MARKER", help="read up to these bytes (escapes as in --send)"
    )
    until.add_argument("--length", type=count, metavar="N", help="read exactly N bytes")
    what.add_argument(
        "--data",
        action="store_true",
        help="write what was received to standard output, and the table to standard error "
        "(with --json: as the member 'data' of each result)",
    )
    how = parser.add_argument_group("how")
    add_engine_option(how)
    how.add_argument("--limit", type=count, metavar="N", help="at most N at a time (default: all at once)")
    how.add_argument("--connection-timeout", type=seconds, default=60.0, metavar="SECONDS", help="default 60")
    how.add_argument(
        "--io-timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="without a byte moving; default 60",
    )
    how.add_argument("--request-timeout", type=seconds, metavar="SECONDS", help="for all of it; default none")
    how.add_argument("--ca", metavar="FILE", help="PEM file with the certificate authorities to trust")
    out = parser.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    out.add_argument("--timeline", metavar="FILE.svg", help=HELP)
    out.add_argument("--no-progress", action="store_true", help="show no live progress on a terminal")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch from all addresses; 0 if all succeeded, 1 if any failed, 130 if interrupted."""
    context = authorities(arguments.ca) if arguments.ca is not None else None
    settings = configuration(arguments.connection_timeout, arguments.io_timeout, arguments.request_timeout)
    picker = _picker(arguments)
    for address in arguments.addresses:
        _check(address)
    raise_descriptor_limit()
    with make_executor(arguments.engine, settings) as executor:
        if arguments.limit:
            executor.with_limitation_solver(ConstantLimitationSolver(arguments.limit))
        gathering = Gathering(executor, keep_data=arguments.data)
        for address in arguments.addresses:
            gathering.add(address, send=_request(arguments, address), picker=picker, stream_context=context)
        engine = executor.engine.name
        timeline = RequestsTimeline(arguments.timeline)
        if arguments.timeline is not None:
            executor.with_event_handler(timeline)
        with Progress(gathering, shown=not arguments.no_progress) as progress:
            gathering.run(progress.update)
    if arguments.json:
        print(json.dumps(_document(gathering, engine, arguments.data), indent=2))
    else:
        report(gathering, engine, arguments.data)
    timeline.save()
    if gathering.interrupted:
        return 130
    return 1 if gathering.failed else 0


def report(gathering: Gathering, engine: str, data: bool = False) -> None:
    """Print the table, the reasons of failures, and one line of sums; with `data` what came, too."""
    out = sys.stderr if data else sys.stdout
    if data:
        for request in gathering.requests:
            sys.stdout.buffer.writelines(request.chunks)
        sys.stdout.buffer.flush()
    print_requests(gathering.requests, out)
    failures = [request for request in gathering.requests if not request.ok]
    for request in failures:
        error = one_line(request.error or request.outcome)
        address = printable(request.address)
        print(f"  {error if address in error else f'{address}: {error}'}", file=out)
    received = sum(request.received for request in gathering.requests)
    print(
        f"{len(gathering.requests) - len(failures)} complete, {len(failures)} failed, "
        f"{human_bytes(received)} received in {human_seconds(gathering.seconds)} on engine {engine}",
        file=out,
    )


def print_requests(requests: Sequence[Request], out: Any = None) -> None:
    """Print the table of requests: address, outcome, bytes, the time in all and in each phase there was."""
    names = [name for name in PHASES if any(one.log.seconds(name) is not None for one in requests)]
    rows = [
        [
            one.label,
            one.outcome,
            human_bytes(one.sent),
            human_bytes(one.received),
            human_seconds(one.log.seconds()),
            *(human_seconds(one.log.seconds(name)) for name in names),
        ]
        for one in requests
    ]
    tones = ["good" if one.ok else "bad" for one in requests]
    print_table(["address", "outcome", "sent", "received", "time", *names], rows, tones=tones, stream=out)


def _document(gathering: Gathering, engine: str, data: bool) -> dict[str, Any]:
    """The JSON document; times are in seconds since the run began."""
    results = []
    for request in gathering.requests:
        result: dict[str, Any] = {
            "address": request.address,
            "ok": request.ok,
            "outcome": request.outcome,
            "error": request.error,
            "remote_address": request.remote,
            "tls": {"version": request.tls[0], "cipher": request.tls[1]} if request.tls else None,
            "bytes_sent": request.sent,
            "bytes_received": request.received,
            "start": request.log.start,
            "seconds": request.log.seconds(),
            "phases": [
                {"phase": phase.name, "start": phase.start, "end": phase.end} for phase in request.log.phases
            ],
        }
        if data:
            result["data"] = b"".join(request.chunks).decode("utf-8", "backslashreplace")
        results.append(result)
    return {
        "engine": engine,
        "seconds": gathering.seconds,
        "succeeded": len(results) - gathering.failed,
        "failed": gathering.failed,
        "results": results,
    }


def _picker(arguments: argparse.Namespace) -> FramePicker | None:
    """The picker asked for; one serves all sockets. None reads up to the end."""
    if arguments.until is not None:
        if not arguments.until:
            raise CommandError("--until needs at least one byte to look for")
        return MarkerFramePicker(None, arguments.until)
    return FixedLengthFramePicker(arguments.length) if arguments.length else None


def _request(arguments: argparse.Namespace, address: str) -> bytes:
    """The bytes to send to `address`."""
    if arguments.http is None:
        return arguments.send or b""
    there = parsed(address)
    host = "localhost"
    if there.host is not None:
        name = there.host.partition("%")[0]  # a zone means something on this machine only
        host = f"[{name}]:{there.port}" if ":" in name else f"{name}:{there.port}"
    return (
        f"GET {arguments.http} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evsockets\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _check(address: str) -> None:
    """A CommandError says what is wrong with `address`, and what to write for a URL."""
    scheme, _, target = address.partition("://")
    host, slash, path = target.partition("/")
    wrong = None
    if scheme.lower() in _WEB:
        wrong = "is a URL, and this asks sockets"
        scheme, port = _WEB[scheme.lower()]
        host = host if re.search(r":\d+$", host) else f"{host}:{port}"
    elif slash and scheme.lower() in ("tcp", "tls"):
        wrong = "has no place for a path"
    if wrong is not None:
        parsed(f"{scheme}://{host}")  # what is wrong with the rest of it comes first
        raise CommandError(f"{address!r} {wrong}: write {scheme}://{host} --http /{path}")
    parsed(address)
