"""`evsockets fetch ADDRESS...`: requests to many peers at once, and a table of the results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .. import FixedLengthFramePicker, FramePicker, MarkerFramePicker
from ..text import one_line
from .asking import Plan
from .cluster import cluster
from .common import CommandError, notice, raise_descriptor_limit
from .options import (
    Parser,
    add_engine_option,
    client_settings,
    count,
    delay,
    escaped_bytes,
    field,
    kind,
    path_of_http,
    protocol,
    seconds,
    sent,
    whole,
)
from .timeline import HELP, RequestsTimeline

if TYPE_CHECKING:
    from .outputs import Output
    from .results import Result
    from .targets import Targets

_EPILOG = r"""
An ADDRESS is a URL, tcp://host:port, tls:// (tlsv1.2://, tlsv1.3://), udp://,
unix:///path, unix://@name, udg:///path; tcp://10.0.0.0/24:22,8000-8010 is many.

  evsockets fetch https://example.org/ http://localhost:8000/health --fail
  evsockets fetch --connect-only --only complete tcp://10.0.0.0/24:22,80
  evsockets fetch --send 'PING\r\n' --until '\r\n' tcp://localhost:6379
  evsockets fetch --from hosts.txt --http / --jsonl | jq .status

Exit status: 0 all complete, 1 some failed, 2 wrong command line; 130 Ctrl-C and
143 SIGTERM (results so far are printed), 141 the output's reader has closed it.
"""

#: At this number of results kept until the end, the command names the formats that keep none.
_MANY = 100_000
_STREAM = (
    f"evsockets: {_MANY:,} results are kept for the end; --jsonl and --csv print them as they come, "
    "--only failed keeps fewer"
)


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: Parser = commands.add_parser(
        "fetch",
        add_help=False,
        help="send a request to many addresses at once, and print a table of the results",
        usage="evsockets fetch [options] ADDRESS...",
        epilog=_EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26),
    )
    hidden = argparse.SUPPRESS  # told in another's line
    parser.add_argument("-h", "--help", action="help", help=hidden)
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", help=hidden)
    _add_what(parser)
    _add_how(parser, hidden)
    _add_output(parser, hidden)
    parser.command = "fetch"
    parser.set_defaults(run=run)


def _add_what(parser: argparse.ArgumentParser) -> None:
    """The targets, and the request."""
    add = parser.add_argument_group("targets").add_argument
    add(
        "--from",
        dest="files",
        action="append",
        default=[],
        metavar="FILE",
        help="read addresses from FILE, one a line; -: stdin",
    )
    add("--max-targets", type=count, default=65536, metavar="N", help="at most N an address (default 65536)")
    what = parser.add_argument_group("request")
    send, until = what.add_mutually_exclusive_group(), what.add_mutually_exclusive_group()
    add = send.add_argument
    add("--send", type=sent, metavar="TEXT", help=r"bytes, with \r \n \t \0 \\ \xHH; -: standard input")
    add("--http", type=path_of_http, metavar="PATH", help="GET this path, unless the URL has one")
    add("--connect-only", action="store_true", help="only connect: send and read nothing")
    add = until.add_argument
    add("--until", type=escaped_bytes, metavar="MARKER", help="read up to these bytes (default: to the end)")
    add("--length", type=count, metavar="N", help="read exactly N bytes")
    add = what.add_argument
    add(
        "--starttls",
        type=protocol,
        metavar="NAME",
        help="start TLS in smtp, imap, pop3, ftp, xmpp, postgres",
    )
    add("--header", type=field, action="append", default=[], metavar="FIELD", help="'Name: value' for HTTP")
    add("--location", action="store_true", help="follow redirects")
    add("--fail", action="store_true", help="count a status of 400 or more as a failure")


def _add_how(parser: argparse.ArgumentParser, hidden: str) -> None:
    """The connections."""
    group = parser.add_argument_group("connections")
    add = group.add_argument
    add_engine_option(group)
    add("--limit", type=count, metavar="N", help="at most N at a time (default 1000)")
    add("--dask", metavar="URL", help="run on the Dask cluster of this scheduler")
    add(
        "--retries", type=whole, default=0, metavar="N", help="to connect; --backoff S before the first (0.1)"
    )
    add("--backoff", type=delay, default=0.1, metavar="S", help=hidden)
    add("--connection-timeout", type=seconds, default=60.0, metavar="S", help="until connected; default 60")
    add("--io-timeout", type=seconds, default=60.0, metavar="S", help="without a byte moved; default 60")
    add("--request-timeout", type=seconds, metavar="S", help="for a whole request; default none")
    add("--ca", metavar="FILE", help="PEM file with the trusted authorities")
    add("--insecure", action="store_true", help="accept any certificate")
    add("--proxy", metavar="URL", help="connect by socks5://host:port or http://host:port")
    add("--server-name", metavar="NAME", help="name to send (SNI) and to verify")


def _add_output(parser: argparse.ArgumentParser, hidden: str) -> None:
    """The output."""
    group = parser.add_argument_group("output")
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document at the end")
    form.add_argument("--jsonl", action="store_true", help="one JSON result a line, as results come")
    form.add_argument("--csv", action="store_true", help="comma-separated values, as results come")
    add = group.add_argument
    add(
        "--only",
        type=kind,
        choices=("complete", "failed"),
        metavar="KIND",
        help="complete (or open), or failed",
    )
    add("--data", action="store_true", help="print received bytes; the table goes to stderr")
    add("--certificates", action="store_true", help="print names, issuer, days left, fingerprint")
    add("--quiet", action="store_true", help="no table, no progress (--no-progress: that alone)")
    add("--no-progress", action="store_true", help=hidden)
    add("--timeline", metavar="FILE", help=HELP)


def run(arguments: argparse.Namespace) -> int:
    """Send all requests; returns 0 if all succeeded, 1 if any failed, 128 + N after signal N."""
    from .progress import Progress
    from .rounds import Rounds

    if not (arguments.addresses or arguments.files):
        arguments.parser.error("give an ADDRESS, or --from FILE")
    if arguments.http is not None:
        _check_http()
    plan = _plan(arguments)
    describe = _describing() if arguments.certificates else None
    keywords = {
        name: getattr(arguments, name)
        for name in ("retries", "backoff", "engine", "connection_timeout", "io_timeout", "request_timeout")
    }
    keywords["stream_context"] = client_settings(
        arguments.ca, arguments.insecure, arguments.server_name, arguments.proxy
    )
    if arguments.dask is not None and arguments.timeline is not None:
        raise CommandError("--timeline shows what happens here, not on Dask's workers: leave it out")
    timeline = RequestsTimeline(arguments.timeline)
    with closing(_targets(arguments)) as targets, cluster(arguments.dask) as client:
        keywords["limit"] = min(
            arguments.limit or (1000 if client is None else 100), raise_descriptor_limit()
        )
        rounds = Rounds(targets, plan, keywords, timeline if arguments.timeline else None, client)
        output = _output(arguments)
        shown = not (arguments.no_progress or arguments.quiet or (output.streams and sys.stdout.isatty()))
        with Progress(rounds, shown=shown) as progress:

            def settle(result: Result) -> bool:
                if _is_followed(result, arguments, targets):
                    return False
                progress.ended(result)
                if describe is not None and result.tls and result.tls.peer_certificate_der:
                    result.certificate = describe(result.tls.peer_certificate_der)
                if arguments.only in (None, "complete" if result.ok else "failed"):
                    output.add(result)
                    if output.kept == _MANY:
                        progress.say(_STREAM)
                return True

            def tick() -> None:
                progress.update()
                if output.streams:
                    sys.stdout.flush()

            rounds.run(settle, tick)
        output.finish(rounds)
    timeline.save()
    if not targets.given and rounds.signal is None:
        notice("evsockets: nobody was asked: the list has no address")
    if rounds.signal is not None:
        return 128 + rounds.signal
    return 1 if rounds.failed else 0


def _check_http() -> None:
    """A CommandError says what HTTP needs; a URL that is met without it has an outcome that says so."""
    try:
        from .. import http  # noqa: F401
    except ImportError as error:
        raise CommandError(one_line(str(error))) from error


def _describing() -> Callable[[bytes], dict[str, Any]]:
    """What reads a certificate."""
    try:
        from .certificate import describe
    except ImportError as error:
        raise CommandError(f"--certificates needs {error.name}: pip install 'evsockets[cli]'") from error
    return describe


def _targets(arguments: argparse.Namespace) -> Targets:
    from .targets import Targets

    raw = any((arguments.connect_only, arguments.starttls, arguments.until, arguments.length))
    raw = raw or arguments.send is not None
    targets = Targets(
        arguments.addresses, arguments.files, arguments.http, web=not raw, most=arguments.max_targets
    )
    try:
        targets.check(arguments)
    except CommandError:
        targets.close()
        raise
    return targets


def _plan(arguments: argparse.Namespace) -> Plan:
    """What is said to each."""
    if isinstance(arguments.send, str):
        if "-" in arguments.files:
            raise CommandError("standard input is given twice: by --send - and by --from -")
        if sys.stdin is None:
            raise CommandError("--send -: standard input is closed; lead there what is to be sent")
        send = sys.stdin.buffer.read()
    else:
        send = arguments.send or b""
    picker: FramePicker | None = None
    if arguments.until is not None:
        if not arguments.until:
            raise CommandError("--until needs at least one byte to look for")
        picker = MarkerFramePicker(None, arguments.until)
    elif arguments.length:
        picker = FixedLengthFramePicker(arguments.length)
    if picker is not None and (arguments.http is not None or arguments.connect_only):
        raise CommandError("--until and --length are for what --send asks for: leave them out")
    return Plan(
        send, picker, arguments.data, arguments.connect_only, arguments.starttls, arguments.server_name,
        tuple(arguments.header),
    )  # fmt: skip


def _output(arguments: argparse.Namespace) -> Output:
    """What prints."""
    from .outputs import CsvOutput, JsonOutput, LinesOutput, TableOutput

    if arguments.jsonl:
        return LinesOutput(arguments.data)
    if arguments.csv:
        return CsvOutput(arguments.data, arguments.certificates)
    if arguments.json:
        return JsonOutput(arguments.data)
    return TableOutput(arguments.data, arguments.quiet)


def _is_followed(result: Result, arguments: argparse.Namespace, targets: Targets) -> bool:
    """Whether somebody else is asked instead; a status may make it a failure."""
    status = result.answer.status
    if not result.ok or status is None:
        return False
    if arguments.location:
        from .web import followed

        try:
            following = followed(result.ask, result.answer)
        except ValueError as error:
            result.fail("bad redirect", str(error))
            return False
        if following is not None:
            targets.again.append(following)
            return True
    if arguments.fail and status >= 400:
        result.fail(f"HTTP {status}", f"the answer's status is {status}")
    return False
