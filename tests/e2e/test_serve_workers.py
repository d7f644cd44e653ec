"""Serving by several processes: one port, deaths, successors, and the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

import evsockets
from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    ConversationOperation,
    DrainReport,
    Mailbox,
    StreamContext,
    create_engine,
    serve,
)
from support import workers_service
from support.certificates import Authority
from support.command import HANGS, Serving, environment, program
from support.machine import comes_true, until
from support.wire import listening

SERVICE = str(Path(workers_service.__file__))

# Python's own, which lives as long as the process: no test has left it.
resource_tracker.ensure_running()


@contextlib.contextmanager
def service(
    engine: str, address: str = "tcp://127.0.0.1:0", workers: int = 2, **more: Any
) -> Iterator[Serving]:
    settings = json.dumps(more.pop("settings", {}))
    command = [sys.executable, SERVICE, address, str(workers), settings]
    with program(*command, EVSOCKETS_ENGINE=engine, **more) as running:
        yield running


class Client:
    """A connection to the service."""

    def __init__(self, running: Serving) -> None:
        self.sock = socket.create_connection(("127.0.0.1", running.port), HANGS)
        self.file = self.sock.makefile("rb")

    def ask(self, word: str = "who") -> int:
        """The worker that answers; 0 if none does."""
        self.sock.sendall(f"{word}\n".encode())
        with contextlib.suppress(ConnectionError):
            return int(self.file.readline() or 0)
        return 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()
        self.sock.close()


def who(running: Serving, connections: int = 60) -> set[int]:
    """The workers that answer so many clients."""
    found = set()
    for _ in range(connections):
        with Client(running) as client:
            found.add(client.ask())
    return found


def end(running: Serving, number: signal.Signals = signal.SIGTERM) -> tuple[Any, str]:
    """End the service by a signal: its report, and what it logged."""
    running.process.send_signal(number)
    output, errors = running.process.communicate(timeout=HANGS)
    assert running.process.returncode == 0, errors
    return json.loads(output), errors


def exists(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(processes: set[int]) -> None:
    comes_true(lambda: not any(map(exists, processes)), "workers are left")


# ---- one port --------------------------------------------------------------------------------------


def test_all_workers_answer_on_one_port(engine: str) -> None:
    with service(engine, workers=3) as running:
        workers = who(running, 200)
        assert len(workers) == 3 and running.process.pid not in workers
        report, errors = end(running)
        assert (report[2], errors) == ([], "")
    gone(workers)


def test_a_bug_ends_its_client_only(engine: str) -> None:
    with service(engine, workers=1) as running:
        with Client(running) as faulty:
            assert faulty.ask("bug") == 0
        assert len(who(running, 3)) == 1
        _, errors = end(running)
    assert "ZeroDivisionError" in errors


def test_unix_and_its_file(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with service(engine, f"unix://{path}") as running:
        found = set()
        for _ in range(40):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(b"who\n")
                found.add(int(sock.recv(100)))
        assert 1 <= len(found) <= 2
        end(running)
    assert not path.exists()


def test_tls(engine: str, ca: Authority) -> None:
    leaf = {"certificate": ca.server.certificate, "private_key": ca.server.private_key}
    context = ssl.create_default_context(cafile=ca.ca_file)
    with service(engine, "tls://127.0.0.1:0", settings={"stream_context": leaf}) as running:
        with (
            socket.create_connection(("127.0.0.1", running.port), HANGS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            sock.sendall(b"who\n")
            assert int(sock.recv(100))
        end(running)


# ---- deaths ----------------------------------------------------------------------------------------


def test_a_dead_worker_is_replaced_and_nobody_else_notices(engine: str) -> None:
    with service(engine) as running:
        workers = comes_true(lambda: len(found := who(running)) == 2 and found, "two workers")
        victim = min(workers)
        with contextlib.ExitStack() as opened:
            clients = [opened.enter_context(Client(running)) for _ in range(40)]
            mine = [client.ask() for client in clients]
            os.kill(victim, signal.SIGKILL)
            assert [client.ask() for client in clients] == [0 if one == victim else one for one in mine]
        later = who(running, 100)  # what waits for the dead one's successor is answered by that
        assert 0 not in later and victim not in later and len(later) == 2
        _, errors = end(running)
    assert "exit code -9; another starts in 0 s" in errors


def test_who_dies_again_and_again_is_replaced_ever_later(engine: str) -> None:
    with service(engine, workers=1) as running:
        for _ in range(3):
            with Client(running) as client:
                assert client.ask("die") == 0
        assert len(who(running, 2)) == 1
        _, errors = end(running)
    assert [line.split()[-2] for line in errors.splitlines()] == ["0", "0.1", "0.2"]


def test_a_dead_parents_workers_drain(engine: str) -> None:
    with service(engine) as running:
        workers = who(running)
        with Client(running) as busy, Client(running) as waiting:
            assert waiting.ask("wait") and busy.ask()
            running.process.kill()
            assert int(waiting.file.readline())  # answered all the same
            assert busy.file.readline() == b""
        gone(workers)


# ---- successors ------------------------------------------------------------------------------------


def test_successors_under_load_and_not_a_request_fails(engine: str) -> None:
    with service(engine) as running:
        first = who(running)
        over = threading.Event()
        answers: list[int] = []

        def ask() -> None:
            while not over.is_set():
                with Client(running) as client:
                    answers.append(client.ask())

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        try:
            old = first
            for number in range(3):
                running.process.send_signal(signal.SIGHUP)
                begun = len(answers)
                comes_true(
                    lambda: len(answers) > begun + 20 and not set(answers[-20:]) & old,  # noqa: B023
                    f"round {number}",
                )
                old = old | set(answers)
        finally:
            over.set()
            for asker in askers:
                asker.join()
        assert answers and 0 not in answers and not who(running) & first
        end(running)


def test_successors_asked_for_while_they_come(engine: str) -> None:
    with service(engine) as running:
        first = who(running)
        for _ in range(5):
            running.process.send_signal(signal.SIGHUP)
        comes_true(lambda: not who(running, 20) & first, "successors")
        running.process.send_signal(signal.SIGHUP)
        assert end(running)[0][2] == []  # while they are replaced, too


def test_a_successor_that_cannot_begin_leaves_the_old_one(engine: str, tmp_path: Path) -> None:
    fault, log = tmp_path / "fault", tmp_path / "log"
    with service(engine, workers=1, WORKERS_FAULT=str(fault), WORKERS_LOG=str(log)) as running:
        first = who(running, 3)
        fault.touch()
        running.process.send_signal(signal.SIGHUP)
        comes_true(lambda: "never was ready" in log.read_text(), "the error")
        assert who(running, 3) == first
        fault.unlink()
        running.process.send_signal(signal.SIGHUP)
        comes_true(lambda: who(running, 3) != first, "a successor")
        end(running)
    assert log.read_text().startswith("ERROR ") and log.read_text().count("\n") == 1


# ---- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_tells_of_all(engine: str, number: signal.Signals) -> None:
    with service(engine, workers=3) as running, contextlib.ExitStack() as opened:
        clients = [opened.enter_context(Client(running)) for _ in range(12)]
        assert all(client.ask() for client in clients)
        assert all(client.ask("wait") for client in clients)
        report, errors = end(running, number)
        assert (report, errors) == ([12, 0, []], "")
        assert all(int(client.file.readline()) for client in clients)


@pytest.mark.usefixtures("gevent_is_tested")
def test_a_program_that_gevent_has_patched(engine: str) -> None:
    """Its workers hear what the parent says, although another thread than the hub's listens to it."""
    with service(engine, WORKERS_PATCHED="1") as running:
        workers = who(running, 20)
        report, errors = end(running)
        assert (report[2], errors) == ([], "")
    gone(workers)


def test_a_second_signal_ends_at_once(engine: str) -> None:
    with service(engine) as running, Client(running) as client:
        worker = client.ask()
        assert client.ask("wait\n" * 9 + "wait")  # longer than it is waited for
        # Two that come at once may be heard as one.
        for _ in until(lambda: running.process.poll() is not None):
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        report = json.loads(running.process.communicate(timeout=HANGS)[0])
        assert report[0] == 0 and [why for why in report[2] if "stopped" in why] == report[2] != []
        gone({worker})


# ---- systemd ---------------------------------------------------------------------------------------


def test_sockets_of_systemd_and_what_it_is_told(engine: str, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.settimeout(HANGS)
        manager.bind(str(tmp_path / "notify"))
        port = listener.getsockname()[1]
        # As systemd does: the socket is descriptor 3, and the variables name the very process.
        passes = (
            "import os, sys; number = int(sys.argv[1]); number == 3 or os.dup2(number, 3);"
            "os.set_inheritable(3, True); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
        )
        service = [SERVICE, f"tcp://127.0.0.1:{port}", "2"]
        process = subprocess.Popen(
            [sys.executable, "-c", passes, str(listener.fileno()), *service],
            env=environment(EVSOCKETS_ENGINE=engine, NOTIFY_SOCKET=str(tmp_path / "notify")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[listener.fileno()],
        )
        try:
            assert manager.recv(100) == b"READY=1"
            assert process.stdout is not None
            banner = process.stdout.readline()
            assert banner.startswith(f"tcp://127.0.0.1:{port} ")
            assert 1 <= len(who(Serving(process, banner.strip()), 20)) <= 2
            process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert process.communicate(timeout=HANGS)[1] == ""
        finally:
            process.kill()
            process.communicate()


def test_systemd_is_told_though_no_callback_is(engine: str, tmp_path: Path) -> None:
    program = "import workers_service as w; w.serve(w.answer, 'tcp://127.0.0.1:0', workers=1)"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(HANGS)
        manager.bind(str(tmp_path / "notify"))
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment(EVSOCKETS_ENGINE=engine, NOTIFY_SOCKET=str(tmp_path / "notify")),
            cwd=Path(SERVICE).parent,
        )
        try:
            assert manager.recv(100) == b"READY=1"
            process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert process.wait(HANGS) == 0
        finally:
            process.kill()
            process.wait()


# ---- what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "error"), [
    (0, ValueError), (-1, ValueError), (10_000, ValueError),
    (1.5, TypeError), ("2", TypeError), (True, TypeError),
])  # fmt: skip
def test_numbers_of_workers(workers: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="workers"):
        serve(workers_service.answer, "tcp://127.0.0.1:0", workers=workers)


def test_what_cannot_be_sent(engine: str) -> None:
    async def inside(talk: Any) -> None: ...

    tls = StreamContext(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with create_engine(engine) as made:
        for function, settings in [
            (inside, {}),
            (workers_service.answer, {"engine": made}),
            (workers_service.answer, {"handler": lambda event: None}),
            (workers_service.answer, {"stream_context": tls}),
        ]:
            with pytest.raises(TypeError, match="cannot be sent to workers"):
                serve(function, "tcp://127.0.0.1:0", workers=2, **settings)  # type: ignore[arg-type]


def test_a_port_in_use(engine: str) -> None:
    with listening() as (_, address):
        with pytest.raises(ConnectionFailedError, match="in use"):
            serve(workers_service.answer, address, workers=2, engine=engine)


def test_what_keeps_a_worker_from_listening_is_raised(engine: str) -> None:
    nothing = {"certificate": "/nowhere.pem"}
    with pytest.raises(ConnectionFailedError, match="nowhere"):
        serve(workers_service.answer, "tls://127.0.0.1:0", workers=2, engine=engine, stream_context=nothing)


def test_workers_that_cannot_begin(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVSOCKETS_ENGINE", "none")
    with pytest.raises(evsockets.EngineUnavailableError, match="none"):
        serve(workers_service.answer, "tcp://127.0.0.1:0", workers=2)


def test_ready_ends_it(engine: str) -> None:
    heard: list[Any] = []

    def ready(executor: Any, local: Any) -> None:
        heard.append(local)
        executor.stop_request()

    report = serve(workers_service.answer, "tcp://127.0.0.1:0", workers=2, engine=engine, ready=ready)
    assert len(heard) == 1 and report.finished == 0


@pytest.mark.parametrize("waits", ["items", "read"])
def test_sockets_that_ready_adds_end_with_the_clients(engine: str, waits: str) -> None:
    mailbox: Mailbox[bytes] = Mailbox()
    added: list[Any] = []
    ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)

    async def last(talk: Any) -> None:
        if waits == "read":
            await talk.read(workers_service.LINE)
        async for _ in talk.items(mailbox):
            pass

    async def listens(talk: Any) -> None:
        async for _ in talk.frames(workers_service.LINE):
            pass

    def ready(executor: Any, local: Any) -> None:
        for mine, function in zip(ours, (last, listens), strict=True):
            added.append(ClientSocket.from_socket(mine))
            executor.socket_bag.add_socket(added[-1], ConversationOperation(function), io_timeout=None)
        executor.call_later(0.1, ends)

    def ends() -> None:
        added.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    report = serve(
        workers_service.answer, "tcp://127.0.0.1:0", workers=2, engine=engine, ready=ready, drain_timeout=0.5
    )
    took = time.monotonic() - added.pop()
    for one in theirs:
        one.close()
    doing = "waiting" if waits == "items" else "reading"
    assert report == DrainReport(1, 0, [(added[0], f"still {doing} after 0.5 s")])
    assert took < 4, "as long as the workers may take beyond that"


def test_a_script_without_a_guard_is_told_so(engine: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import evsockets, workers_service as w\nevsockets.serve(w.answer, 'tcp://127.0.0.1:0', workers=1)\n"
    )
    command = [sys.executable, str(script)]
    where = environment(EVSOCKETS_ENGINE=engine, PYTHONPATH=str(Path(SERVICE).parent))
    ran = subprocess.run(command, env=where, stderr=subprocess.PIPE, timeout=HANGS, check=False, text=True)
    assert ran.returncode == 1
    assert "before it was ready: is serve called below `if __name__ == '__main__':`?" in ran.stderr
