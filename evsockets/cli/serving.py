"""The base of the serving commands: the listener, its banner, workers, and the end by SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import (
    AcceptEvent,
    Configuration,
    ConnectionFailedError,
    ConstantLimitationSolver,
    DrainReport,
    Event,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    StreamContext,
    WorkerLostError,
)
from ..address import Address, bracketed
from ..text import one_line, printable
from .common import CommandError, make_executor, notice, raise_descriptor_limit
from .options import add_engine_option, certificate, count, delay

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every serving command."""
    add_engine_option(parser)
    parser.add_argument(
        "--certificate",
        metavar="FILE",
        help="PEM file with the certificate chain for TLS; SIGHUP reads it again",
    )
    parser.add_argument(
        "--key", metavar="FILE", help="PEM file with the private key, if not in --certificate"
    )
    parser.add_argument("--limit", type=count, metavar="N", help="serve at most N clients at a time")
    parser.add_argument(
        "--drain",
        type=delay,
        default=5.0,
        metavar="SECONDS",
        help="time for answers in progress after SIGTERM or SIGINT (default 5); a second one ends at once",
    )
    parser.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="serve with N processes, each with its own --limit; SIGHUP replaces them without a gap",
    )


def tls_context(arguments: argparse.Namespace, address: Address) -> StreamContext | None:
    """Return the TLS settings of the options, with the certificate as it is now, None without TLS;
    CommandError if they do not fit."""
    if arguments.certificate is None:
        if arguments.key is not None:
            raise CommandError("--key needs --certificate FILE beside it")
        if address.is_tls:
            raise CommandError(f"{address.text} needs --certificate FILE (and --key FILE)")
        return None
    if not address.is_tls:
        raise CommandError(f"--certificate needs a tls:// address instead of {address.text}")
    from ..transports.tls_context import server_context

    # Half of a new certificate that is being written is nobody's: it is read when it is said to be.
    return StreamContext(tls=server_context(certificate(arguments.certificate, arguments.key), address))


class Server:
    """One listening socket and its executor, from the banner to the drained end.

    `accept` is told of every client; `banner` gets the bound address as a URL and returns the line to
    print once it listens. `context` is the listener's. A worker is given its `listener`, and tells `ready`
    instead of printing.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        address: Address,
        accept: Callable[[AcceptEvent], None],
        banner: Callable[[str], str],
        configuration: Configuration,
        context: StreamContext | None,
        listener: ServerSocket | None = None,
        ready: Callable[[RequestExecutor, Any], None] | None = None,
    ) -> None:
        raise_descriptor_limit()
        self.executor: RequestExecutor = make_executor(arguments.engine, configuration)
        self.address = address.text
        self.context = context
        self.beside: contextlib.AbstractContextManager[object] = contextlib.nullcontext()  # of the run
        self._banner = banner
        self._ready = ready
        self._drain_seconds = arguments.drain
        self._failure: CommandError | OSError | None = None
        self._signals = 0
        self._report: DrainReport | None = None
        self._listening = False
        if arguments.limit:
            self.executor.with_limitation_solver(ConstantLimitationSolver(arguments.limit))
        handler: dict[EventType, Callable[[Any], object]] = {
            EventType.CONNECTED: self._on_listening,
            EventType.ACCEPT: accept,
            EventType.EXCEPTION: self._on_exception,
        }
        if ready is not None:
            handler[EventType.FINALIZE] = self._on_finalize
        self._arguments = arguments
        self._parsed = address
        self._metadata = self.executor.socket_bag.add_socket(
            listener or ServerSocket(),
            ReadOperation(),
            handler=handler,
            address=address.text,
            stream_context=context,
        )

    def run(self) -> DrainReport | None:
        """Serve until a signal ends it; how the clients ended, None if that was at once. CommandError if it
        cannot listen, OSError if it cannot say where."""
        before = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGHUP)}
        try:
            with self.beside, self.executor:
                self.executor.execute_request()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._failure is not None:
            raise self._failure
        return self._report

    def announce(self, local_address: Any) -> None:
        """Print where it listens."""
        print(printable(self._banner(bound_url(self.address, local_address))), flush=True)

    def _on_listening(self, event: Event) -> None:
        self._listening = True
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        if self._ready is None:
            if self.context is not None:
                signal.signal(signal.SIGHUP, self._on_hang_up)
            try:
                self.announce(event.metadata.local_address)
            except OSError as error:
                self._failure = error
                self.executor.stop_request()
        else:
            self._ready(self.executor, event.metadata.local_address)

    def _on_finalize(self, event: Event) -> None:
        """Nothing is accepted any more, as the parent says or by a signal."""
        self._report = self.executor.drain(self._drain_seconds)

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        text = one_line(str(event.exception))
        if self._listening:
            notice(f"evsockets: {text}")
        else:
            self._failure = cannot_serve(event.exception)

    def _on_hang_up(self, *_: Any) -> None:
        if self.executor.is_executing:
            self.executor.call_soon_threadsafe(self._read_certificate)

    def _read_certificate(self) -> None:
        """Show the certificate that the files have now to whoever comes from now on."""
        try:
            self._metadata.stream_context = tls_context(self._arguments, self._parsed)
        except CommandError as error:
            notice(f"evsockets: {error}; the certificate read before is shown")
        else:
            notice("evsockets: the certificate has been read again")

    def _on_signal(self, *_: Any) -> None:
        self._signals += 1
        if not self.executor.is_executing:
            return
        if self._signals == 1:
            self._report = self.executor.drain(self._drain_seconds)
        else:
            self._report = None
            self.executor.stop_request()


#: Makes the server of a command line; a worker's with its listener and what it tells when it accepts.
Make = Callable[..., Server]


def run_server(arguments: argparse.Namespace, make: Make) -> int:
    """Serve until a signal, by this process or by workers; 0 after an orderly end."""
    server = make(arguments)
    report = server.run() if arguments.workers is None else _run_workers(arguments, make, server)
    if report is not None:
        aborted = "".join(f"; aborted {socket}: {why}" for socket, why in report.aborted)
        notice(
            f"evsockets: drained: {report.finished} finished, {report.closed_idle} idle, "
            f"{len(report.aborted)} aborted{printable(aborted)}"
        )
    return 0


def _run_workers(arguments: argparse.Namespace, make: Make, server: Server) -> DrainReport:
    from ..serving.listeners import open_listeners
    from ..serving.workers import Workers

    server.executor.close()  # it was made to have the command line checked
    given = {name: value for name, value in vars(arguments).items() if name not in ("run", "parser")}
    try:
        workers = Workers(
            partial(_work, make, argparse.Namespace(**given)),
            arguments.workers,
            drain_timeout=arguments.drain,
            engine=arguments.engine,
            ready=lambda executor, local_address: server.announce(local_address),
        )
        listeners = open_listeners(server.address, server.context or StreamContext(), arguments.workers)
    except ValueError as error:
        raise CommandError(f"--{error}") from error
    except ConnectionFailedError as error:
        raise cannot_serve(error) from error
    try:
        return workers.run(listeners)
    except WorkerLostError as error:
        raise CommandError(one_line(str(error)), 1) from error
    finally:
        for listener in listeners:
            listener.close()


def _work(
    make: Make, arguments: argparse.Namespace, listener: Any, ready: Callable[[RequestExecutor, Any], None]
) -> DrainReport:
    """In a worker: see `evsockets.serving.worker.Job`."""
    server = make(arguments, listener=ServerSocket.from_socket(listener), ready=ready)
    return server.run() or DrainReport()


def cannot_serve(error: Exception) -> CommandError:
    """The CommandError for a listener's `error`."""
    text = one_line(str(error))
    if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
        place = "path" if text.startswith(("unix:", "udg:")) else "port, or port 0 for any free one"
        text += f"; give another {place}"
    return CommandError(f"cannot serve on {text}", 1)


def bound_url(address: str, local: Any) -> str:
    """Return the URL of what a listener for `address` is bound to; `local` as `socket` gives it."""
    scheme = address.partition("://")[0].lower()
    if isinstance(local, tuple):
        return f"{'tcp' if scheme == 'fd' else scheme}://{bracketed(local[0])}:{local[1]}"
    return f"{'unix' if scheme == 'fd' else scheme}://{local or ''}"
