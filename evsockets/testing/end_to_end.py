"""Tests of whole executors on an engine, which complete the engine contract.

class TestMine(EngineContract, EngineEndToEnd):
    def make_engine(self):
        return MyEngine()
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from ..engines.base import Engine
from ..engines.stdlib import SelectorsEngine
from ..engines.tracing import TracingEngine
from ..errors import EngineError, UnsupportedOperationError
from ..event_types import EventType
from ..executor import RequestExecutor
from ..operations.read import ReadOperation
from ..operations.write import WriteOperation
from ..sockets import ClientSocket
from .conversations import CONVERSATIONS, LINE, run
from .engines import alarm
from .recordings import Stage

_expected: dict[str, Any] = {}


def _echo(stage: Stage, started: Callable[[str], object]) -> None:
    """A line server in the executor; `started(address)` adds what asks it."""
    stage.server(
        "tcp://127.0.0.1:0",
        lambda event: started("tcp://localhost:%d" % event.metadata.local_address[1]),
        {EventType.READ: lambda event: event.next_is_write(event.frame.data, then=ReadOperation(LINE))},
        lambda: ReadOperation(LINE),
    )


class EngineEndToEnd:
    """A pytest class: subclass it and define `make_engine` to run executors and sockets on an engine."""

    engine_name: str | None = None
    """The engine's name in results and for `--engines`; None: its own name."""

    def make_engine(self) -> Engine:
        """Return a new engine; called several times in one test."""
        raise NotImplementedError

    @pytest.mark.parametrize("name", CONVERSATIONS)
    def test_the_same_events_as_on_the_standard_librarys_engine(self, name: str) -> None:
        if name == "tls":
            pytest.importorskip("trustme")
        if name not in _expected:
            with SelectorsEngine() as reference:
                _expected[name] = run(name, reference)
        with self.make_engine() as engine:
            assert run(name, engine) == _expected[name]

    def test_a_name_is_resolved_and_a_thread_stops_the_run(self) -> None:
        with self.make_engine() as engine, RequestExecutor(engine) as executor, Stage(executor) as stage:
            threads: list[threading.Thread] = []

            def read(event: Any) -> None:
                threads.append(threading.Thread(target=executor.stop_request))
                threads[0].start()
                event.next_is_read(LINE)

            _echo(
                stage,
                lambda address: stage.client(
                    "client",
                    address,
                    WriteOperation(b"x\n", then=ReadOperation(LINE)),
                    {EventType.READ: read},
                ),
            )
            executor.execute_request()
            threads[0].join()
            names = [entry[0] for entry in stage.trace.lives["client"]]
        assert names == ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]

    def test_wake_ups_coalesce(self) -> None:
        """100 000 of them: every callback runs, in order, in few polls."""
        polls: list[str] = []
        seen: list[int] = []
        with self.make_engine() as engine:
            traced = TracingEngine(engine, write=polls.append)
            with RequestExecutor(traced) as executor, Stage(executor) as stage:

                def storm(address: str) -> None:
                    polls.clear()
                    for number in range(100_000):
                        executor.call_soon_threadsafe(seen.append, number)
                    executor.call_soon_threadsafe(executor.stop_request)

                _echo(stage, storm)
                executor.execute_request()
        assert seen == list(range(100_000))
        assert len(polls) < 200

    def test_a_stall_takes_nothing_from_a_time_out(self) -> None:
        """0.3 s of blocking in a handler, then a time-out of 0.2 s: it counts from there."""
        moments: list[float] = []
        with self.make_engine() as engine, RequestExecutor(engine) as executor, Stage(executor) as stage:

            def write(event: Any) -> None:
                time.sleep(0.3)
                event.metadata.io_timeout = 0.2
                moments.append(time.monotonic())

            stage.client(
                "client",
                stage.peer(("receive", b"x"), ("wait",)),
                WriteOperation(b"x", then=ReadOperation()),
                {EventType.WRITE: write, EventType.TIMEOUT: lambda event: moments.append(time.monotonic())},
            )
            executor.execute_request()
        assert moments[1] - moments[0] >= 0.2

    def test_an_interrupt_gets_out_and_leaves_all_usable(self) -> None:
        with self.make_engine() as engine:
            for interrupted in (True, False):
                with RequestExecutor(engine) as executor, Stage(executor) as stage:
                    steps = [("wait",)] if interrupted else [("send", b"x\n"), ("wait",)]
                    stage.client("client", stage.peer(*steps), ReadOperation(LINE))
                    if not interrupted:
                        executor.execute_request()
                        assert ("READ", b"x\n", "MarkerFramePicker") in stage.trace.lives["client"]
                        continue
                    with pytest.raises(KeyboardInterrupt), alarm(signal.default_int_handler, 0.1):
                        executor.execute_request()
                    assert [entry[0] for entry in stage.trace.lives["client"]][-2:] == [
                        "DISCONNECTED",
                        "FINALIZE",
                    ]

    def test_what_a_handler_raises_leaves_all_usable(self) -> None:
        class Bug(Exception):
            pass

        def bug(event: Any) -> None:
            raise Bug

        with self.make_engine() as engine, RequestExecutor(engine) as executor, Stage(executor) as stage:
            address = stage.peer(("send", b"x\n"), ("wait",), clients=2)
            stage.client("first", address, ReadOperation(LINE), {EventType.READ: bug})
            with pytest.raises(Bug):
                executor.execute_request()
            stage.client("second", address, ReadOperation(LINE))
            executor.execute_request()
            assert stage.trace.lives["first"][-1][0] == stage.trace.lives["second"][-1][0] == "FINALIZE"

    def test_two_executors_take_turns(self) -> None:
        with (
            self.make_engine() as one, self.make_engine() as two,
            RequestExecutor(one) as left, RequestExecutor(two) as right,
            Stage(left) as here, Stage(right) as there,
        ):  # fmt: skip
            for stage in (here, there):
                address = stage.peer(("receive", b"ask\n"), ("send apart", b"an answer\n"), ("wait",))
                stage.client("client", address, WriteOperation(b"ask\n", then=ReadOperation(LINE)))
                stage.executor.start_request()
            more = [True, True]
            for _ in range(1_000_000):
                more = [
                    going and stage.executor.turn(0) for going, stage in zip(more, (here, there), strict=True)
                ]
                if not any(more):
                    break
            assert here.trace.lives == there.trace.lives
            assert here.trace.lives["client"][-1] == ("FINALIZE", 10, 4, True)

    def test_a_busy_pair_starves_nobody(self) -> None:
        """Two sockets that always have something for each other, and one that is answered once."""
        busy = True

        def ping(event: Any) -> None:
            if busy:
                event.next_is_write(event.frame.data, then=ReadOperation())

        def done(event: Any) -> None:
            nonlocal busy
            busy = False

        left, right = socket.socketpair()
        with self.make_engine() as engine, RequestExecutor(engine) as executor, Stage(executor) as stage:
            for number, end in enumerate((left, right)):
                operation = WriteOperation(b"ping", then=ReadOperation()) if number else ReadOperation()
                executor.socket_bag.add_socket(
                    ClientSocket.from_socket(end), operation, handler={EventType.READ: ping}
                )
            address = stage.peer(("receive", b"ask\n"), ("send", b"answer\n"), ("wait",))
            operation = WriteOperation(b"ask\n", then=ReadOperation(LINE))
            stage.client("client", address, operation, {EventType.READ: done}, io_timeout=30)
            executor.execute_request()
        assert not busy

    def test_hosted_through_its_descriptor(self) -> None:
        with self.make_engine() as engine, RequestExecutor(engine) as executor, Stage(executor) as stage:
            try:
                descriptor = executor.fileno()
            except UnsupportedOperationError:
                pytest.skip("the engine has no descriptor of its own")
            address = stage.peer(("receive", b"ask\n"), ("send apart", b"an answer\n"), ("wait",))
            stage.client("client", address, WriteOperation(b"ask\n", then=ReadOperation(LINE)), io_timeout=30)
            executor.start_request()
            while executor.turn(0):
                select.select([descriptor], [], [], executor.patience())
            assert ("READ", b"an answer\n", "MarkerFramePicker") in stage.trace.lives["client"]

    def test_a_fork_is_noticed_and_harms_nobody(self) -> None:
        with self.make_engine() as engine, RequestExecutor(engine) as executor, Stage(executor) as stage:
            ask = WriteOperation(b"ask\n", then=ReadOperation(LINE))
            _echo(stage, lambda address: stage.client("client", address, ask, io_timeout=30))
            executor.start_request()
            executor.turn(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
                child = os.fork()
            if not child:
                try:
                    executor.turn(0)
                except EngineError:
                    os._exit(7)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            while executor.turn(1):
                pass
            assert ("READ", b"ask\n", "MarkerFramePicker") in stage.trace.lives["client"]

    def test_nothing_is_left(self) -> None:
        """No descriptor, after conversations with a hundred sockets and a run that was cut short."""

        def round_of_all() -> int:
            with self.make_engine() as engine:
                run("many", engine)
                with RequestExecutor(engine) as executor, Stage(executor) as stage:
                    _echo(stage, lambda address: executor.stop_request())
                    executor.execute_request()
            return len(os.listdir("/dev/fd"))

        first = round_of_all()
        assert max(round_of_all() for _ in range(3)) <= first
