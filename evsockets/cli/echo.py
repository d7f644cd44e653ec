"""`evsockets echo ADDRESS`: sends received bytes back, at once or after a delay."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from .. import (
    AcceptEvent,
    CallbackEventHandler,
    Configuration,
    DataAlertEvent,
    DatagramClientSocket,
    DelayedOperation,
    Event,
    EventType,
    NullOperation,
    ReadEvent,
    ReadOperation,
    SocketExceptionEvent,
    WriteOperation,
)
from ..text import one_line, printable
from .common import notice
from .options import delay, parsed, seconds
from .serving import Server, add_server_options, run_server, tls_context

_EPILOG = """
  evsockets echo tcp://127.0.0.1:7000
  evsockets echo udp://127.0.0.1:9000 --delay 0.5
"""
#: Seconds between two looks at the clock while an answer is held back, at most.
_LOOK = 0.05


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "echo",
        help="send received bytes back, on a stream or datagram address",
        description="Listens on tcp://, tls:// (with --certificate), unix://, udp://, udg://, fd://.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("address", metavar="ADDRESS", help="where to listen; port 0 takes a free one")
    parser.add_argument(
        "--delay", type=delay, default=0.0, metavar="SECONDS", help="delay every answer by this time"
    )
    parser.add_argument(
        "--io-timeout", type=seconds, default=60.0, metavar="SECONDS", help="end silent clients (default 60)"
    )
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; 0 after an orderly end."""
    return run_server(arguments, make_server)


def make_server(arguments: argparse.Namespace, **worker: Any) -> Server:
    """The server of a command line: see `serving.Make`."""
    address = parsed(arguments.address, server=True)
    context = tls_context(arguments, address)
    echo = _Echo(arguments.delay)

    def banner(url: str) -> str:
        held = f", each answer {arguments.delay:g} s late" if arguments.delay else ""
        return f"{url} echoes{held} on engine {server.executor.engine.name}"

    settings = Configuration(
        io_timeout=arguments.io_timeout, idle_timeout=arguments.io_timeout, isolate_handler_errors=True
    )
    server = Server(arguments, address, echo.accept, banner, settings, context, **worker)
    server.beside = echo.bars
    return server


class _Echo:
    """The conversation: every chunk goes back as it came, one after the other."""

    def __init__(self, held: float) -> None:
        self._held = held
        self.bars = DelayBars(held)
        self._read = ReadOperation()
        self._idle = NullOperation()
        rest: dict[EventType, Any] = {
            EventType.EXCEPTION: self._on_exception,
            EventType.TIMEOUT: lambda event: None,  # a silent client is no news
        }
        if held:
            rest[EventType.FINALIZE] = self._on_finalize
        stream = {EventType.READ: self._on_read, EventType.DATA_ALERT: self._on_data_alert, **rest}
        self._stream = CallbackEventHandler(stream)
        self._datagram = CallbackEventHandler({EventType.READ: self._on_datagram, **rest})

    def accept(self, event: AcceptEvent) -> None:
        """Take in a client, or a datagram."""
        bag = event.executor.socket_bag
        if isinstance(event.client_socket, DatagramClientSocket):
            bag.add_socket(event.client_socket, self._read, handler=self._datagram)
        else:
            # Between two chunks a client idles, so that an orderly end need not wait for it.
            bag.add_socket(event.client_socket, self._idle, handler=self._stream, keep_alive=True)

    def _on_data_alert(self, event: DataAlertEvent) -> None:
        event.next_is(self._read)

    def _on_read(self, event: ReadEvent) -> None:
        self._answer(event, WriteOperation(event.frame.data))

    def _on_datagram(self, event: ReadEvent) -> None:
        # As the one item of a list, an empty datagram is an answer, too.
        self._answer(event, WriteOperation([event.frame.data]))

    def _answer(self, event: ReadEvent, answer: WriteOperation) -> None:
        if not self._held:
            event.next_is(answer)
            return
        due = time.monotonic() + self._held
        bar = self.bars.begin(printable(f"{event.metadata.remote_address} {len(event.frame)} bytes"))
        event.metadata.user_context = bar
        interval = max(0.001, min(_LOOK, self._held / 4))
        event.next_is(DelayedOperation(answer, self._waits, due, bar, interval=interval))

    def _waits(self, socket: Any, executor: Any, due: float, bar: Any) -> bool:
        left = due - time.monotonic()
        self.bars.move(bar, left)
        return left > 0

    def _on_finalize(self, event: Event) -> None:
        """The client may have gone while its answer was held back."""
        self.bars.end(event.user_context)

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        notice(f"evsockets: {one_line(str(event.exception))}")


class DelayBars:
    """A bar on standard error for every answer that is delayed by `held` seconds: with rich, on a terminal.

    A context manager; silent elsewhere.
    """

    def __init__(self, held: float) -> None:
        self._held = held
        self._progress: Any = None
        if held and sys.stderr.isatty():
            self._progress = _rich_progress()

    def __enter__(self) -> DelayBars:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, text: str) -> Any:
        """Return a new bar, None if none is shown."""
        return None if self._progress is None else self._progress.add_task(text, total=self._held)

    def move(self, bar: Any, left: float) -> None:
        """Show that `left` seconds are left; at 0 the bar is removed."""
        if self._progress is None:
            return
        if left <= 0:
            self.end(bar)
        else:
            self._progress.update(bar, completed=self._held - left)
            self._progress.refresh()

    def end(self, bar: Any) -> None:
        """Remove a bar; no effect if it is removed already."""
        if self._progress is not None and bar in self._progress.task_ids:
            self._progress.remove_task(bar)
            self._progress.refresh()


def _rich_progress() -> Any:
    """A rich progress display on standard error, or None without rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn(compact=True))
    # Standard output is not led to the terminal: the banner belongs to whoever started this.
    return Progress(
        *columns, console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False
    )
