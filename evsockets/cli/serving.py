"""What the serving commands share: the listener, its banner, and the orderly end by SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import Any

from .. import (
    AcceptEvent,
    Configuration,
    ConstantLimitationSolver,
    DrainReport,
    Event,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    StreamContext,
)
from ..address import Address
from .common import CommandError, make_executor, one_line, raise_descriptor_limit
from .options import add_engine_option, certificate, count, delay

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add what every serving command understands."""
    add_engine_option(parser)
    parser.add_argument("--certificate", metavar="FILE", help="PEM file with the certificate chain for TLS")
    parser.add_argument(
        "--key", metavar="FILE", help="PEM file with the private key, if not in --certificate"
    )
    parser.add_argument("--limit", type=count, metavar="N", help="serve at most N clients at a time")
    parser.add_argument(
        "--drain",
        type=delay,
        default=5.0,
        metavar="SECONDS",
        help="how long SIGTERM and SIGINT let running answers go on (default 5); a second one ends at once",
    )


def tls_context(arguments: argparse.Namespace, address: Address) -> StreamContext | None:
    """Return the TLS settings of the options, None without TLS; CommandError if they do not fit."""
    if arguments.certificate is None:
        if arguments.key is not None:
            raise CommandError("--key needs --certificate FILE beside it")
        if address.is_tls:
            raise CommandError(f"{address.text} needs --certificate FILE (and --key FILE)")
        return None
    if not address.is_tls:
        raise CommandError(f"--certificate needs a tls:// address instead of {address.text}")
    return certificate(arguments.certificate, arguments.key)


class Server:
    """One listening socket and its executor, from the banner to the drained end.

    `accept` is told of every client; `banner` gets the bound address as a URL and returns the line to
    print once it listens. `metadata` is the listener's.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        address: Address,
        accept: Callable[[AcceptEvent], None],
        banner: Callable[[str], str],
        configuration: Configuration,
        **metadata: Any,
    ) -> None:
        raise_descriptor_limit()
        self.executor: RequestExecutor = make_executor(arguments.engine, configuration)
        self._address = address.text
        self._banner = banner
        self._drain_seconds = arguments.drain
        self._failure: str | None = None
        self._signals = 0
        self._report: DrainReport | None = None
        self._listening = False
        if arguments.limit:
            self.executor.with_limitation_solver(ConstantLimitationSolver(arguments.limit))
        handler = {
            EventType.CONNECTED: self._on_listening,
            EventType.ACCEPT: accept,
            EventType.EXCEPTION: self._on_exception,
        }
        self.executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), handler=handler, address=address.text, **metadata
        )

    def run(self) -> int:
        """Serve until a signal ends it; 0 then, 1 if it could not listen."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            with self.executor:
                self.executor.execute_request()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._failure is not None:
            raise CommandError(self._failure, 1)
        if self._report is not None:
            aborted = "".join(f"; aborted {socket!r}: {why}" for socket, why in self._report.aborted)
            print(
                f"evsockets: drained: {self._report.finished} finished, {self._report.closed_idle} idle, "
                f"{len(self._report.aborted)} aborted{aborted}",
                file=sys.stderr,
            )
        return 0

    def _on_listening(self, event: Event) -> None:
        self._listening = True
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        url = bound_url(self._address, event.metadata.local_address)
        print(self._banner(url), flush=True)

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        text = one_line(str(event.exception))
        if self._listening:
            print(f"evsockets: {text}", file=sys.stderr)
        else:
            self._failure = f"cannot serve on {text}"

    def _on_signal(self, *_: Any) -> None:
        self._signals += 1
        if not self.executor.is_executing:
            return
        if self._signals == 1:
            self._report = self.executor.drain(self._drain_seconds)
        else:
            self._report = None
            self.executor.stop_request()


def bound_url(address: str, local: Any) -> str:
    """Return the URL of what a listener for `address` is bound to; `local` as `socket` gives it."""
    scheme = address.partition("://")[0].lower()
    if isinstance(local, tuple):
        host = f"[{local[0]}]" if ":" in local[0] else local[0]
        return f"{'tcp' if scheme == 'fd' else scheme}://{host}:{local[1]}"
    return f"{'unix' if scheme == 'fd' else scheme}://{local or ''}"
