"""Counts the way of a byte, a deadline and a connect through the code: `python docs/ways.py`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import evsockets
from evsockets import ClientSocket, EventType, MarkerFramePicker, ReadOperation, RequestExecutor
from evsockets.testing.scripted import ScriptedEngine

PACKAGE = Path(evsockets.__file__).parent
TESTING = PACKAGE / "testing"


class Way:
    """The library's functions that are called between `begin` and `end`, in order, by file and name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def begin(self) -> None:
        """From here on calls count."""
        sys.setprofile(self._note)

    def end(self, *_: Any) -> None:
        """Up to here."""
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE) and not path.is_relative_to(TESTING):
            self.calls.append((str(path.relative_to(PACKAGE)), frame.f_code.co_qualname))

    def __str__(self) -> str:
        files = [file for file, _ in self.calls]
        changes = sum(here != there for here, there in pairwise(files))
        return f"{len(files)} calls, {len(set(files))} files, {changes} changes of file"


def lines() -> Way:
    """Two pipelined lines, each answered: from the poll that tells of them to the next one."""
    way = Way()
    ours, peer = socket.socketpair()
    engine = ScriptedEngine(look=True)
    poll = engine.poll

    def watched_poll(timeout: float | None) -> list[tuple[Any, int]]:
        way.end()
        batch = poll(timeout)
        if batch and not way.calls:
            way.begin()
        return batch

    engine.poll = watched_poll  # type: ignore[method-assign]
    read = ReadOperation(MarkerFramePicker(None, b"\n"))
    on_read = {EventType.READ: lambda event: event.next_is_write(b"ok\n", then=read)}
    with peer, RequestExecutor(engine) as executor:
        executor.socket_bag.add_socket(ClientSocket.from_socket(ours), read, handler=on_read)
        peer.sendall(b"one\ntwo\n")
        engine.call(executor.stop_request)
        executor.execute_request()
        assert peer.recv(100) == b"ok\nok\n"
    return way


def deadline() -> Way:
    """A read that nothing arrives for: from `add_socket` to TIMEOUT."""
    way = Way()
    ours, peer = socket.socketpair()
    with peer, RequestExecutor(ScriptedEngine()) as executor:
        client, read = ClientSocket.from_socket(ours), ReadOperation()
        way.begin()
        executor.socket_bag.add_socket(client, read, handler={EventType.TIMEOUT: way.end}, io_timeout=5.0)
        executor.execute_request()
    return way


def connect() -> Way:
    """To a numeric address of this machine: from `add_socket` to CONNECTED."""
    way = Way()
    engine = ScriptedEngine(look=True)
    with socket.create_server(("127.0.0.1", 0)) as server, RequestExecutor(engine) as executor:
        url = "tcp://{}:{}".format(*server.getsockname())
        client, read = ClientSocket(), ReadOperation()
        engine.call(executor.stop_request)
        way.begin()
        executor.socket_bag.add_socket(client, read, handler={EventType.CONNECTED: way.end}, address=url)
        executor.execute_request()
    return way


WAYS: dict[str, Callable[[], Way]] = {"lines": lines, "deadline": deadline, "connect": connect}

if __name__ == "__main__":
    for name, measure in WAYS.items():
        measure()  # what is imported or made once is no part of the way
        way = measure()
        print(f"{name}: {way}")
        if "-v" in sys.argv:
            print(*(f"    {file}: {function}" for file, function in way.calls), sep="\n")
