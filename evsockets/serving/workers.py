"""Serving by several processes: the parent holds the listening sockets, each worker accepts from one."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from ..conversations.conversation import Conversation
from ..conversations.operation import ConversationOperation
from ..core.raised import raise_kept
from ..drain import Drain, DrainReport
from ..engines.base import Engine
from ..errors import DisconnectedError, WorkerLostError
from ..executor import RequestExecutor
from ..frames import LengthPrefixedFramePicker
from ..pickles import pickled
from ..sockets import ClientSocket
from ..validation import check_int
from .service_manager import notify
from .worker import DRAIN, STOP, Job, main
from .worker_process import Place, Worker

logger = logging.getLogger("evsockets")

_MESSAGE = LengthPrefixedFramePicker(4)
# Processes that one server may have.
_MOST = 1024
# Seconds after which a successor that is not ready is given up.
_PATIENCE = 30.0
# Seconds that workers have beyond the time for their clients, and then to be gone.
_GRACE = 5.0


class _Link(ClientSocket):
    """The parent's end of the connection to a worker: no client, and it lasts longer than they do."""


class Workers:
    """The parent: starts `count` workers that run `job`, replaces dead ones, and ends all on SIGTERM or
    SIGINT, or by `drain()` or `stop_request()` of the executor that `ready` gets. On SIGHUP it replaces each.

    TypeError for a job that cannot be pickled; TypeError or ValueError for a wrong `count`.
    """

    def __init__(
        self,
        job: Job,
        count: int,
        *,
        drain_timeout: float | None,
        engine: str | Engine | None = None,
        ready: Callable[[RequestExecutor, Any], object] | None = None,
    ) -> None:
        check_int("workers", count, 1, _MOST)
        if isinstance(engine, Engine):
            raise TypeError(f"{engine!r} cannot be sent to workers: name it, as in engine={engine.name!r}")
        self._job = pickled(job)
        self._count = count
        self._engine = engine
        self._executor: Any = None
        self._places: list[Place] = []
        self._drain_timeout = drain_timeout
        self._ready = ready
        self._told = False  # that all are ready
        self._context = multiprocessing.get_context("spawn")
        self._alive: list[Worker] = []
        self._report = DrainReport()
        self._failure: BaseException | None = None
        self._signals = 0
        self._ending = False
        self._drain: Drain | None = None
        self._round: Iterator[Place] | None = None
        self._again = False

    def run(self, listeners: Sequence[Any]) -> DrainReport:
        """Serve from `listeners` until the end. Raises the error of a worker that cannot start."""
        self._places = [Place(listeners[number % len(listeners)]) for number in range(self._count)]
        before = self._hear_signals()
        try:
            with RequestExecutor(self._engine) as self._executor:
                for place in self._places:
                    place.worker = self._start(place)
                self._executor.execute_request()
            if self._drain is not None:
                own = self._drain.report
                own.aborted = [one for one in own.aborted if not isinstance(one[0], _Link)]
                self._add(own)
        finally:
            self._end_all()
            for number, handler in before.items():
                signal.signal(number, handler)
        raise_kept(self)
        return self._report

    # ---- workers -------------------------------------------------------------------------------------

    def _start(self, place: Place) -> Worker:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as opened:
            opened.enter_context(theirs)
            listener = opened.enter_context(socket.socket(fileno=os.dup(place.listener.fileno())))
            client = opened.enter_context(ours.dup())
            process = self._context.Process(
                target=main, args=(self._job, listener, theirs, self._drain_timeout)
            )
            process.start()
            worker = Worker(place, process, ours)
            self._alive.append(worker)
            self._executor.socket_bag.add_socket(
                _Link.from_socket(client),
                ConversationOperation(self._mind, worker),
                io_timeout=None,
                request_timeout=None,
            )
        return worker

    async def _mind(self, talk: Conversation, worker: Worker) -> None:
        """Hear what a worker says, until it is gone."""
        with contextlib.suppress(DisconnectedError):
            async for frame in talk.frames(_MESSAGE):
                self._hear(worker, *pickle.loads(frame.data))
            if talk.draining:
                self._begin_drain()
                worker.tell(DRAIN)
                while True:
                    self._hear(worker, *pickle.loads((await talk.read(_MESSAGE)).data))
        if talk.draining:
            self._report.finished -= 1  # the drain counts this link among the sockets of `ready`
        self._gone(worker)

    def _hear(self, worker: Worker, what: str, value: Any) -> None:
        place = worker.place
        if what == "failed":
            worker.error = value
        elif what == "ended":
            self._add(value)
        else:
            worker.is_ready = True
            if place.successor is worker:
                place.successor = None
                if place.worker is not None:
                    place.worker.tell(DRAIN)
                place.worker = worker
                self._replace_next()
            elif not self._told and all(
                one.worker is not None and one.worker.is_ready for one in self._places
            ):
                self._tell_ready(value)

    def _add(self, report: DrainReport) -> None:
        self._report.finished += report.finished
        self._report.closed_idle += report.closed_idle
        self._report.aborted += report.aborted

    def _tell_ready(self, local_address: Any) -> None:
        ready, self._ready, self._told = self._ready, None, True
        notify("READY=1")
        if ready is not None:
            try:
                ready(self._executor, local_address)
            except Exception as error:
                self._fail(error)

    def _gone(self, worker: Worker) -> None:
        self._alive.remove(worker)
        code = worker.bury(time.monotonic() + _GRACE)
        place = worker.place
        if worker.told or self._ending:
            return
        why: BaseException = worker.error or WorkerLostError(
            f"a worker ended with exit code {code} before it was ready: "
            "is serve called below `if __name__ == '__main__':`?"
        )
        if place.successor is worker:
            place.successor = None
            logger.error("the successor of %s never was ready: %s; it goes on", place.worker, why)
            self._replace_next()
        elif not worker.is_ready:
            self._fail(why)
        elif place.worker is worker:
            place.worker = None
            pause = place.pause()
            logger.warning("a worker ended with exit code %s; another starts in %g s", code, pause)
            self._executor.call_later(pause, self._restart, place)

    def _restart(self, place: Place) -> None:
        if place.worker is None and not self._ending:
            place.worker = self._start(place)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._executor.stop_request()

    # ---- successors ----------------------------------------------------------------------------------

    def _replace(self) -> None:
        """A new worker for each, one after the other; asked for meanwhile, once more after that."""
        if self._ending:
            return
        if self._round is not None:
            self._again = True
            return
        self._round = iter(self._places)
        self._replace_next()

    def _replace_next(self) -> None:
        if self._round is None or self._ending:
            return
        place = next(self._round, None)
        if place is None:
            self._round = None
            if self._again:
                self._again = False
                self._replace()
            return
        place.deaths = 0
        place.successor = successor = self._start(place)
        self._executor.call_later(_PATIENCE, self._give_up, successor, keeps_running=False)

    def _give_up(self, successor: Worker) -> None:
        if successor.place.successor is successor:
            successor.process.kill()  # it is heard to be gone

    # ---- the end -------------------------------------------------------------------------------------

    def _hear_signals(self) -> dict[int, Any]:
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is not None:
                    before[number] = signal.signal(number, self._on_signal)
        return before

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._executor.call_soon_threadsafe(self._replace)
            return
        self._signals += 1
        if not self._executor.is_executing:
            return
        if self._signals == 1:
            timeout = self._drain_timeout
            self._executor.drain(None if timeout is None else timeout + _GRACE)
            self._executor.call_soon_threadsafe(self._begin_drain)
        else:
            self._executor.stop_request()

    def _begin_drain(self) -> None:
        """The sockets that `ready` added have `drain_timeout` seconds, as the clients of the workers have."""
        if self._drain is None:
            self._drain = self._executor._loop.draining
            if self._drain_timeout is not None:
                self._executor.call_later(self._drain_timeout, self._abort_own, keeps_running=False)
        self._begin_end()

    def _abort_own(self) -> None:
        loop, drain = self._executor._loop, self._drain
        assert drain is not None
        for channel in loop.running():
            if not isinstance(channel.socket, _Link):
                loop.call_for(channel, drain.abort, channel, f"after {self._drain_timeout:g} s")

    def _begin_end(self) -> None:
        if not self._ending:
            self._ending = True
            notify("STOPPING=1")

    def _end_all(self) -> None:
        """Whoever is left is ended at once."""
        self._begin_end()
        for worker in self._alive:
            worker.tell(STOP)
        deadline = time.monotonic() + _GRACE
        for worker in self._alive:
            for what, value in worker.last_words(deadline):
                self._hear(worker, what, value)
            worker.bury(deadline)
        self._alive.clear()
