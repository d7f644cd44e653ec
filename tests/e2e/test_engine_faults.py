"""What goes wrong around an engine: forks, threads, stalls, storms of wake-ups."""

from __future__ import annotations

import glob
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    ReadOperation,
    RequestExecutor,
)
from support.command import run_python
from support.service import CLIENT, Peers, Service, conversation
from support.wire import Log, read_to_end

FORK = """
    import os, sys
    from evsockets import *
    line = MarkerFramePicker(None, b"\\n")
    executor = RequestExecutor(sys.argv[1])
    answers, status = [], []

    def accepted(event):
        executor.socket_bag.add_socket(event.client_socket, ReadOperation(line),
            handler={EventType.READ: lambda e: e.next_is_write(e.frame.data)})

    def connected(event):
        executor.socket_bag.add_socket(ClientSocket(), WriteOperation(b"hello\\n", then=ReadOperation(line)),
            address="tcp://127.0.0.1:%d" % event.metadata.local_address[1],
            handler={EventType.READ: read})

    def read(event):
        answers.append(event.frame.data)
        server.close()

    server = ServerSocket()
    executor.socket_bag.add_socket(server, ReadOperation(), address="tcp://127.0.0.1:0",
        handler={EventType.ACCEPT: accepted, EventType.CONNECTED: connected})
    executor.start_request()
    executor.turn(0)
    child = os.fork()
    if not child:
        try:
            executor.turn(0)
        except EngineError as error:
            os._exit(7 if "fork" in str(error) else 8)
        except BaseException:
            os._exit(9)
        os._exit(10)
    _, code = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(code) == 7, os.waitstatus_to_exitcode(code)
    while executor.turn(1):
        pass
    executor.close()
    assert answers == [b"hello\\n"], answers
    print("ok")
"""


def test_fork_in_the_middle(engine: str) -> None:
    """The child gets a clear error, the parent is unharmed."""
    result = run_python(FORK, engine)
    assert result.stdout.strip() == "ok", result.stdout + result.stderr


def test_two_threads_are_refused_not_corrupted(executor: RequestExecutor) -> None:
    caught: list[BaseException] = []
    ready = threading.Event()

    def other() -> None:
        ready.wait()
        for call in (
            lambda: executor.execute_request(),
            lambda: executor.close(),
            lambda: executor.socket_bag.add_socket(
                ClientSocket(), ReadOperation(), address="tcp://127.0.0.1:1"
            ),
            lambda: executor.socket_bag.set_metadata(service.server, io_timeout=1),
            lambda: executor.with_event_handler(print),
            lambda: service.server.close(),
        ):
            try:
                call()
            except RuntimeError as error:
                caught.append(error)
        executor.stop_request()

    service = Service(executor, started=lambda e: ready.set())
    thread = threading.Thread(target=other)
    thread.start()
    executor.execute_request()
    thread.join()
    assert len(caught) == 6
    assert service.listening.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_a_stall_of_another_socket(executor: RequestExecutor) -> None:
    """What arrived during a stall is looked at before a time-out is declared."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED and len(peers) == 1:
                peers.stream(service.local, b"second\n")
            elif event.type is EventType.CONNECTED:
                peers[0].sendall(b"first\n")
                time.sleep(0.15)
            elif event.type is EventType.READ:
                event.next_is_write(event.frame.data)

        service = Service(
            executor, clients=2, started=lambda e: peers.stream(e.metadata.local_address), handler=handler,
            client_metadata={"io_timeout": 0.1},
        )  # fmt: skip
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"first\n", b"second\n"]
    assert "TIMEOUT" not in service.talking.names


CLOCK = """
    import socket, sys, time
    from evsockets import *
    file, jump, engine = sys.argv[1:]
    moments, others = [], []
    wall = time.time()

    def connected(event):
        moments.append(time.monotonic())
        open(file, "w").write(jump)
        event.metadata.io_timeout = 0.3

    def late(event):
        moments.append(time.monotonic())
        executor.stop_request()

    with socket.create_server(("127.0.0.1", 0)) as silent, RequestExecutor(engine) as executor:
        for handler in ({EventType.TIMEOUT: others.append},
                        {EventType.CONNECTED: connected, EventType.TIMEOUT: late}):
            executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), handler=handler,
                address="tcp://127.0.0.1:%d" % silent.getsockname()[1], io_timeout=60,
                keep_alive=True, request_timeout=3600)
        executor.execute_request()
    assert abs(time.time() - wall) > 80_000, "the clock did not jump"
    took = moments[1] - moments[0]
    assert 0.3 <= took < 30, took
    assert others == []
    print("ok")
"""


@pytest.mark.parametrize("jump", ["+1d", "-1d"])
def test_the_wall_clock_jumps(engine: str, jump: str, tmp_path: Path) -> None:
    """By a day, while a time-out runs: nothing is early, nothing is late."""
    libraries = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not libraries:
        assert not os.environ.get("CI"), "libfaketime must be there"
        pytest.skip("libfaketime is not installed")
    file = tmp_path / "offset"
    file.write_text("+0d")
    result = run_python(
        CLOCK, str(file), jump, engine,
        LD_PRELOAD=libraries[0], FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_NO_CACHE="1",
        FAKETIME_TIMESTAMP_FILE=str(file),
    )  # fmt: skip
    assert result.stdout.strip() == "ok", result.stdout + result.stderr


def test_somebody_elses_wake_up_descriptor_stays(executor: RequestExecutor) -> None:
    """asyncio, for one, has signals written to a descriptor of its own: it gets them during a run, too."""
    reader, writer = socket.socketpair()
    with reader, writer:
        for end in (reader, writer):
            end.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno())
        handler = signal.signal(signal.SIGUSR1, lambda number, frame: executor.stop_request())
        try:
            Service(executor, started=lambda event: os.kill(os.getpid(), signal.SIGUSR1))
            executor.execute_request()
            assert reader.recv(10) == bytes([signal.SIGUSR1])
        finally:
            signal.signal(signal.SIGUSR1, handler)
            assert signal.set_wakeup_fd(before) == writer.fileno()


def test_an_engine_made_by_the_user_is_reusable(engine: str) -> None:
    """It outlives the executors that used it, a run that failed included; they leave nothing in it."""
    from evsockets import create_engine

    class Bug(Exception):
        pass

    def bug(event: Any) -> None:
        raise Bug

    shared = create_engine(engine)
    try:
        for fails in (True, False, True, False):
            with RequestExecutor(shared) as executor:
                assert executor.engine is shared
                if fails:
                    Service(executor, started=bug)
                    with pytest.raises(Bug):
                        executor.execute_request()
                    continue
                events: Log = conversation(executor)[1]
                executor.execute_request()
                assert events.names == CLIENT
        reader, writer = os.pipe()
        shared.watch(reader, 1, "mine")
        os.write(writer, b"x")
        assert shared.poll(1) == [("mine", 1)]
        shared.watch(reader, 0, None)
        os.close(reader)
        os.close(writer)
    finally:
        shared.close()
