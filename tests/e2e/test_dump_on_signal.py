"""`dump_on_signal`: the program goes on, and standard error says what it is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
    dump_on_signal,
    explain,
)
from support.command import run_python
from support.wire import PATIENCE, add, pair

FOUR = ReadOperation(FixedLengthFramePicker(4))


@pytest.fixture(autouse=True)
def handler_before() -> Iterator[None]:
    """Signal handlers are the process's."""
    numbers = signal.SIGUSR1, signal.SIGUSR2
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


def test_while_the_engine_waits(executor: RequestExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    dump_on_signal()
    client, theirs = pair()
    with theirs:
        log = add(executor, None, FOUR, socket=client)

        def later() -> None:
            send(signal.SIGUSR1)
            theirs.sendall(b"four")

        timer = threading.Timer(0.1, later)
        timer.start()
        executor.execute_request()
        timer.join()
    assert log.frames == [b"four"]
    said = capfd.readouterr().err
    assert f"RequestExecutor on {executor.engine.name}, executing" in said
    assert "reading for" in said
    assert "next time-out: IO in" in said


def test_while_a_handler_runs(executor: RequestExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    dump_on_signal(signal.SIGUSR2)

    def where_it_hangs(event: Any) -> None:
        send(signal.SIGUSR2)
        threading.Event().wait(0.01)  # where a signal handler runs at the latest

    client, theirs = pair()
    with theirs:
        theirs.sendall(b"four")
        log = add(executor, None, FOUR, socket=client, on={"READ": where_it_hangs})
        executor.execute_request()
    assert log.names[-1] == "FINALIZE" and not log.errors
    said = capfd.readouterr().err
    assert "executing, at work on ClientSocket" in said
    assert "in where_it_hangs" in said


def test_an_executor_of_another_thread(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    dump_on_signal()
    inside, go_on = threading.Event(), threading.Event()

    def hangs_over_there(event: Any) -> None:
        inside.set()
        go_on.wait(PATIENCE)

    def work() -> None:
        client, theirs = pair()
        with theirs, RequestExecutor(engine) as executor:
            theirs.sendall(b"four")
            add(executor, None, FOUR, socket=client, on={"READ": hangs_over_there})
            executor.execute_request()

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(PATIENCE)
    send(signal.SIGUSR1)
    go_on.set()
    thread.join(PATIENCE)
    assert "in hangs_over_there" in capfd.readouterr().err


def test_every_executor_and_none(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    dump_on_signal()
    with RequestExecutor(engine), RequestExecutor(engine) as second:
        second.socket_bag.add_socket(ClientSocket(), FOUR)
        send(signal.SIGUSR1)
        said = capfd.readouterr().err
        assert said.count("RequestExecutor on") >= 2
        assert explain(second).splitlines()[0] in said
    send(signal.SIGUSR1)
    assert "2 sockets" not in capfd.readouterr().err


def test_an_earlier_handler_is_called_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    called: list[int] = []

    def former(number: int, frame: object) -> None:
        assert capfd.readouterr().err  # it has been printed
        called.append(number)

    signal.signal(signal.SIGUSR1, former)
    dump_on_signal()
    dump_on_signal()
    send(signal.SIGUSR1)
    assert called == [signal.SIGUSR1]


def test_only_in_the_main_thread() -> None:
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            dump_on_signal()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("signum", "error"),
    [
        ("USR1", TypeError),
        (True, TypeError),
        (0, ValueError),
        (9999, ValueError),
        (signal.SIGKILL, ValueError),
    ],
)
def test_what_is_no_signal_that_can_be_caught(signum: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="sign"):
        dump_on_signal(signum)


def test_where_there_is_no_sigusr1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGUSR1")
    with pytest.raises(RuntimeError, match="name a signal"):
        dump_on_signal()
    dump_on_signal(signal.SIGUSR2)


def test_a_storm_of_signals(engine: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Anywhere in a turn: nothing that is looked at changes, nothing is raised."""
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    dump_on_signal(signal.SIGPROF)
    with RequestExecutor(engine) as executor:

        def accepted(event: Any) -> None:
            executor.socket_bag.add_socket(event.client_socket, FOUR, handler={EventType.READ: echoes})

        def echoes(event: Any) -> None:
            event.next_is_write(event.frame.data, FOUR)

        def listens(event: Any) -> None:
            address = "tcp://127.0.0.1:%d" % event.metadata.local_address[1]
            logs.extend(add(executor, address, WriteOperation(b"four", then=FOUR), on=on) for _ in range(5))

        def goes_on(event: Any) -> None:
            left.append(1)
            if len(left) < 2000:
                event.next_is_write(b"four", FOUR)
            elif len(left) == 2000:
                executor.stop_request()

        left: list[int] = []
        logs: list[Any] = []
        on = {"READ": goes_on}
        handler = {EventType.ACCEPT: accepted, EventType.CONNECTED: listens}
        executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), address="tcp://127.0.0.1:0", handler=handler
        )
        # Processor time: on a busy machine signals by the clock would leave no time between them.
        signal.setitimer(signal.ITIMER_PROF, 0.005, 0.005)
        try:
            executor.execute_request()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
    assert len(left) >= 2000
    assert not [error for log in logs for error in log.errors]
    said = capfd.readouterr().err
    assert "RequestExecutor on" in said
    assert "cannot be told" not in said


class Refusing:
    """A standard error that takes nothing."""

    def write(self, text: str) -> int:
        raise RuntimeError("reentrant call")


@pytest.mark.parametrize("stream", [None, Refusing()])
def test_without_a_standard_error_the_run_goes_on(
    executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch, stream: Any
) -> None:
    dump_on_signal()
    monkeypatch.setattr(sys, "stderr", stream)
    client, theirs = pair()
    with theirs:
        log = add(executor, None, FOUR, socket=client, on={"CONNECTED": lambda e: send(signal.SIGUSR1)})
        theirs.sendall(b"four")
        executor.execute_request()
    assert log.frames == [b"four"]


def test_what_cannot_be_told_is_told(
    executor: RequestExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(ReadOperation):
        def __repr__(self) -> str:
            raise LookupError("a repr's own error")

    dump_on_signal()
    executor.socket_bag.add_socket(ClientSocket(), Broken(), address="tcp://127.0.0.1:1")
    send(signal.SIGUSR1)
    assert "LookupError: a repr's own error" in capfd.readouterr().err


def test_a_program_of_its_own(engine: str) -> None:
    """The page's program: nothing of pytest's stands between the signal and the descriptor."""
    code = f"""
import os, signal, socket, threading
from evsockets import ClientSocket, ReadOperation, RequestExecutor, dump_on_signal
dump_on_signal()
ours, theirs = socket.socketpair()
with theirs, RequestExecutor({engine!r}) as executor:
    executor.socket_bag.add_socket(ClientSocket.from_socket(ours), ReadOperation())
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    threading.Timer(0.3, theirs.close).start()
    executor.execute_request()
print("went on")
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "waits for the peer to send" in done.stderr
