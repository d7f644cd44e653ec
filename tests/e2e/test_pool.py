"""Persistent sockets: one connection for many requests and executors."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

import pytest

from evsockets import (
    PersistentClientSocket,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.command import HANGS, environment
from support.life import END, USUAL
from support.service import LINE
from support.wire import hang_up, peer, read_to_end, reset, talk, tls_script


def forget(event):
    event.executor.socket_bag.forget_socket(event.socket)


def echo(sock):
    count = 0
    while data := sock.recv(100):
        sock.sendall(data)
        count += 1
    return count


def ask(executor: RequestExecutor, url: str, key: object = None, on=None, **more):
    client = PersistentClientSocket(key)
    seen = []

    def on_read(event):
        seen.append(event.socket.fileno())
        (on or forget)(event)

    log = talk(
        executor, url, WriteOperation(b"hello\n", then=ReadOperation(LINE)), socket=client,
        on={"READ": on_read}, **more,
    )  # fmt: skip
    return client, log, seen


def test_three_executors_one_connection(engine: str) -> None:
    with peer(echo) as server:
        descriptors = []
        for number in range(3):
            with RequestExecutor(engine) as executor:
                client, log, seen = ask(executor, server.url())
                descriptors += seen
                middle = ["WRITE", "READ", "FINALIZE"]
                assert log.names == (["INITIALIZE", *middle] if number else [*USUAL, *middle])
                assert log.frames == [b"hello\n"]
        assert len(set(descriptors)) == 1
        assert client.is_connected
        client.close()
    assert server.results == [3]


def test_the_pool_tells_keys_apart(executor: RequestExecutor) -> None:
    with peer(echo) as one, peer(echo) as two:
        first, *_ = ask(executor, one.url(), "a")
        second, log, _ = ask(executor, two.url(), "b")
        assert log.names[:2] == USUAL
        second.close()
        first.close()
    with peer(echo) as other:
        third, log, _ = ask(executor, other.url(), "a")
        assert log.names[:2] == USUAL
        third.close()
    assert one.results == two.results == other.results == [1]


@pytest.mark.parametrize("stale", ["end", "reset", "stray bytes"])
def test_a_stale_connection_is_never_handed_out(executor: RequestExecutor, stale: str) -> None:
    from threading import Event

    gone = Event()

    def script(sock):
        sock.sendall(sock.recv(100))
        if not gone.is_set():
            if stale == "end":
                sock.shutdown(socket.SHUT_WR)
            elif stale == "reset":
                reset(sock)
            else:
                sock.sendall(b"stray")
            gone.set()
        with contextlib.suppress(OSError):  # a reset of what was not read
            read_to_end(sock)

    with peer(script, count=2) as server:
        first, log, _ = ask(executor, server.url())
        assert gone.wait(10)
        second, log, _ = ask(executor, server.url())
        assert log.names == [*USUAL, "WRITE", "READ", "FINALIZE"] and log.frames == [b"hello\n"]
        assert not first.is_connected
        second.close()


@pytest.mark.parametrize("how", ["end", "cancel", "stop"])
def test_any_other_end_closes_it(executor: RequestExecutor, how: str) -> None:
    def on_read(event):
        if how == "cancel":
            event.cancel_operation()
        elif how == "stop":
            event.executor.stop_request()

    with peer(echo) as server:
        more = {"idle_timeout": 0.05} if how == "end" else {}
        client, log, _ = ask(executor, server.url(), on=on_read, **more)
        assert not client.is_connected
    assert server.results == [1]
    assert log.names[-2:] == END


def test_leftover_bytes_are_not_handed_out(executor: RequestExecutor) -> None:
    def script(sock):
        sock.sendall(sock.recv(100) + b"more")
        with contextlib.suppress(OSError):
            read_to_end(sock)

    with peer(script, count=2) as server:
        for _ in range(2):
            client, log, _ = ask(executor, server.url())
            assert log.names[:2] == USUAL
        client.close()


@pytest.mark.parametrize("stale", [False, True])
def test_the_pool_over_tls(engine: str, ca: Authority, stale: bool) -> None:
    from threading import Event

    gone = Event()

    def script(sock):
        sock.sendall(sock.recv(100))
        if stale and not gone.is_set():
            hang_up(sock)
            gone.set()
            return 1
        try:
            return 1 + echo(sock)
        except OSError:
            return 1

    with peer(tls_script(server_side(ca), script), count=1 + stale) as server:
        names = []
        for number in range(2):
            with RequestExecutor(engine) as executor:
                client, log, _ = ask(executor, server.url("tls"), stream_context={"ca_file": ca.ca_file})
                names.append(log.names[1])
                assert log.metadata.tls.version == "TLSv1.3"
                assert not stale or number or gone.wait(10)
        # TLS settings are part of the key; session tickets in between are no stray bytes.
        assert names == ["CONNECTED", "CONNECTED" if stale else "WRITE"]
        client.close()


def test_other_tls_settings_get_a_connection_of_their_own(executor: RequestExecutor, ca: Authority) -> None:
    url = None
    for settings in ({"ca_file": ca.ca_file}, {"verify": False}):
        with peer(tls_script(server_side(ca), echo)) as server:
            url = server.url("tls")
            client, log, _ = ask(executor, url, stream_context=settings)
            assert log.names[:2] == USUAL
            client.close()


PROCESS = """
import os, socket, sys
from evsockets import EventType, PersistentClientSocket, ReadOperation, RequestExecutor, WriteOperation

def ask(engine, url):
    names = []
    with RequestExecutor(engine) as executor:
        executor.socket_bag.add_socket(
            PersistentClientSocket(), WriteOperation(b"hello", then=ReadOperation()), address=url,
            handler={
                EventType.CONNECTED: lambda e: names.append("connected"),
                EventType.READ: lambda e: executor.socket_bag.forget_socket(e.socket),
            },
        )
        executor.execute_request()
    return names

engine, url, fork = sys.argv[1:]
assert ask(engine, url) == ["connected"]
child = os.fork() if fork == "fork" else None
if child == 0:
    assert ask(engine, url) == ["connected"]  # one of its own
    sys.exit()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert ask(engine, url) == []  # still there, untouched by the child
"""


@pytest.mark.parametrize("fork", ["", "fork"])
def test_the_pool_at_the_end_of_a_process_and_in_its_child(engine: str, fork: str) -> None:
    """The end closes it in order, without a warning; a child lets its parent's connections alone."""

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(HANGS)  # the program has to be started before it connects
        url = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, engine, url, fork],
            env=environment(), stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        threads = []
        for _ in range(2 if fork else 1):
            sock = stack.enter_context(listener.accept()[0])
            sock.settimeout(20)
            threads.append(threading.Thread(target=echo, args=[sock]))
            threads[-1].start()
        _, errors = process.communicate(timeout=HANGS)
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert (process.returncode, errors) == (0, "")


def test_a_key_is_hashable() -> None:
    with pytest.raises(TypeError, match=r"key must be hashable, got \[\]"):
        PersistentClientSocket([])
