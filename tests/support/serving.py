"""`serve` in a thread of the test's own process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from evsockets import DrainReport, RequestExecutor, serve
from support.wire import read_to_end


class Serving:
    """`serve` in a thread, which is not the main one: no signals."""

    def __init__(self, function: Any, address: str, **settings: Any) -> None:
        self.report: DrainReport | None = None
        self.error: BaseException | None = None
        self.executor: RequestExecutor | None = None
        self.local: Any = None
        self._ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(function, address), kwargs=settings)
        self.thread.start()
        assert self._ready.wait(20)

    def _run(self, function: Any, address: str, **settings: Any) -> None:
        try:
            self.report = serve(function, address, ready=self._listening, **settings)
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()

    def _listening(self, executor: RequestExecutor, local_address: Any) -> None:
        self.executor, self.local = executor, local_address
        self._ready.set()

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX if isinstance(self.local, str) else socket.AF_INET)
        made.settimeout(20)
        made.connect(self.local)
        return made

    def ask(self, line: bytes) -> bytes:
        with self.connect() as made:
            made.sendall(line)
            made.shutdown(socket.SHUT_WR)
            return read_to_end(made)

    def drain(self, timeout: float = 20) -> None:
        assert self.executor is not None
        self.executor.drain(timeout)
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(function: Any, address: str = "tcp://127.0.0.1:0", **settings: Any) -> Iterator[Serving]:
    made = Serving(function, address, **settings)
    try:
        yield made
    finally:
        if made.thread.is_alive() and made.executor is not None:
            with contextlib.suppress(RuntimeError):
                made.executor.stop_request()
        made.thread.join(20)
