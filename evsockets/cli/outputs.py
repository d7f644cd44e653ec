"""What `fetch` prints: a table at the end, or documents for programs, as results come or at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from ..text import human_bytes, human_seconds, one_line, printable, shorten
from .results import PHASES, Result
from .table import print_table
from .web import url_of

if TYPE_CHECKING:
    from .rounds import Rounds

_CERTIFICATE = ("subject", "names", "issuer", "not_after", "days_left", "sha256")


class Output:
    """Takes each result as it comes; `finish` when all have. `keep`: whether what was received is shown."""

    #: Whether results are printed while others are under way.
    streams = False

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep

    @property
    def kept(self) -> int:
        """How many are kept until the end."""
        return 0

    def add(self, result: Result) -> None:
        """One more."""

    def finish(self, rounds: Rounds) -> None:
        """That was all."""


class Ordered(Output):
    """Keeps the results until the end, in the order in which they were asked for."""

    def __init__(self, keep: bool = False) -> None:
        super().__init__(keep)
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        """One more."""
        self._results.append(result)

    @property
    def kept(self) -> int:
        """How many are kept until the end."""
        return len(self._results)

    def _ordered(self) -> list[Result]:
        return sorted(self._results, key=lambda result: result.ask.number)


class TableOutput(Ordered):
    """The table, the reasons of failures, and one line of sums; what was received goes to standard output,
    in order, and the rest of it to standard error then. `quiet`: that rest is not printed."""

    def __init__(self, keep: bool = False, quiet: bool = False) -> None:
        super().__init__(keep)
        self._quiet = quiet

    def add(self, result: Result) -> None:
        """One more."""
        if self._keep or not self._quiet:
            super().add(result)

    def finish(self, rounds: Rounds) -> None:
        """Print all."""
        out = sys.stderr if self._keep else sys.stdout
        results = self._ordered()
        if self._keep:
            sys.stdout.flush()
            for result in results:
                sys.stdout.buffer.writelines(result.answer.chunks)
            sys.stdout.buffer.flush()
        if self._quiet:
            return
        if results:
            print_results(results, out)
        for result in results:
            if result.error is not None:
                # A URL says more than its address, which the library's errors begin with.
                label = printable(result.ask.label)
                error = one_line(result.error).removeprefix(f"{printable(result.ask.address)}: ")
                print(f"  {error if label in error else f'{label}: {error}'}", file=out)
        print(sums(rounds), file=out)


def sums(rounds: Rounds) -> str:
    """One line: how many, how they failed, how much, how long."""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in rounds.failures.most_common())
    failed = f"{rounds.failed:,} failed" + (f" ({kinds})" if len(rounds.failures) > 1 else "")
    rest = rounds.targets.estimate() if rounds.signal is not None else None
    unasked = 0 if rest is None else round(rest) - rounds.finished
    return (
        f"{rounds.finished - rounds.failed:,} complete, {failed}, "
        + (f"{unasked:,} not asked, " if unasked > 0 else "")
        + f"{human_bytes(rounds.received)} received in {human_seconds(rounds.elapsed)}"
        + (f" on engine {rounds.engine}" if rounds.engine else "")
    )


def print_results(results: list[Result], out: TextIO) -> None:
    """Print the table: address, outcome, bytes, the time in all and in each phase there was."""
    columns: dict[str, Callable[[Result], str]] = {
        "address": lambda one: one.ask.label,
        "outcome": lambda one: one.outcome,
    }
    if any(one.answer.status is not None for one in results):
        columns["status"] = lambda one: "-" if one.answer.status is None else str(one.answer.status)
    columns |= {
        "sent": lambda one: human_bytes(one.sent),
        "received": lambda one: human_bytes(one.received),
        "time": lambda one: human_seconds(one.seconds),
    }
    for phase in PHASES:
        if any(one.spent(phase) is not None for one in results):
            columns[phase] = lambda one, phase=phase: human_seconds(one.spent(phase))  # type: ignore[misc]
    if any(one.certificate for one in results):
        for name, head in zip(
            _CERTIFICATE, (*_CERTIFICATE[:3], "expires", "days left", "sha256"), strict=True
        ):
            columns[head] = lambda one, name=name: shorten(_flat(one.certificate, name), 64)  # type: ignore[misc]
    rows = [[cell(one) for cell in columns.values()] for one in results]
    tones = ["good" if one.ok else "bad" for one in results]
    print_table(list(columns), rows, tones=tones, stream=out)


def _flat(certificate: Mapping[str, Any] | None, name: str) -> str:
    value = (certificate or {}).get(name, "-")
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


class JsonOutput(Ordered):
    """One JSON document at the end; times are in seconds since the run began."""

    def finish(self, rounds: Rounds) -> None:
        """Print it."""
        document = {
            "engine": rounds.engine,
            "seconds": rounds.seconds,
            "succeeded": rounds.finished - rounds.failed,
            "failed": rounds.failed,
            "results": [document_of(result, self._keep) for result in self._ordered()],
        }
        print(json.dumps(document, indent=2))


class LinesOutput(Output):
    """A JSON document a line, as results come."""

    streams = True

    def add(self, result: Result) -> None:
        """Print it."""
        print(json.dumps(document_of(result, self._keep)))


class CsvOutput(Output):
    """A line of comma-separated values for each result, as they come, below one that names them."""

    streams = True

    def __init__(self, keep: bool = False, certificates: bool = False) -> None:
        import csv

        super().__init__(keep)
        columns = ["address", "ok", "outcome", "error", "status", "attempts", "remote_address", "tls_version"]
        columns += ["tls_cipher", "bytes_sent", "bytes_received", "start", "seconds", *PHASES]
        columns += _CERTIFICATE if certificates else ()
        columns += ["data"] if keep else []
        self._writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()

    def add(self, result: Result) -> None:
        """Print it."""
        row = document_of(result, self._keep)
        row |= {f"tls_{name}": value for name, value in (row["tls"] or {}).items()}
        times = [("start", result.ask.start), ("seconds", result.seconds), *result.phases]
        row |= {name: f"{seconds:.6f}" for name, seconds in times if seconds is not None}
        row |= {name: _flat(result.certificate, name) for name in result.certificate or ()}
        if isinstance(result.remote, tuple):
            row["remote_address"] = (
                "[%s]:%d" % result.remote[:2] if ":" in result.remote[0] else "%s:%d" % result.remote
            )
        self._writer.writerow(
            {name: printable(str(value)) for name, value in row.items() if value is not None}
        )


def document_of(result: Result, data: bool) -> dict[str, Any]:
    """A result for programs."""
    ask, answer, tls = result.ask, result.answer, result.tls
    document: dict[str, Any] = {
        "address": ask.address or ask.label,
        "ok": result.ok,
        "outcome": result.outcome,
        "error": result.error,
        "attempts": result.attempts,
        "remote_address": result.remote,
        "tls": {"version": tls.version, "cipher": tls.cipher} if tls else None,
        "bytes_sent": result.sent,
        "bytes_received": result.received,
        "start": ask.start,
        "seconds": result.seconds,
        "phases": list(_spans(result)),
    }
    if ask.path is not None:
        document |= {
            "url": url_of(ask),
            "status": answer.status,
            "redirects": ask.redirects,
            "headers": answer.headers,
        }
    if result.certificate is not None:
        document["certificate"] = dict(result.certificate)
    if data:
        document["data"] = result.data.decode("utf-8", "backslashreplace")
    return document


def _spans(result: Result) -> Iterator[dict[str, Any]]:
    at = result.ask.start or 0.0
    for name, seconds in result.phases:
        yield {"phase": name, "start": at, "end": at + seconds}
        at += seconds
