"""Programs in the style of pyev's own documentation, run unchanged."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.optional import library

pyev = library("pyev")

SIGNALS = """
import signal
import pyev

def signal_cb(watcher, revents):
    for each in watcher.loop.data:
        each.stop()
    watcher.loop.data = None
    watcher.loop.stop(pyev.EVBREAK_ALL)
    print("stopped", flush=True)

def timer_cb(watcher, revents):
    watcher.data += 1
    print(watcher.data, watcher.loop.iteration > 0, watcher.loop.now() > 0, flush=True)

if __name__ == "__main__":
    loop = pyev.default_loop()
    timer = loop.timer(0, 0.05, timer_cb, 0)
    timer.start()
    sig = loop.signal(signal.SIGINT, signal_cb)
    sig.start()
    loop.data = [timer, sig]
    loop.start()
"""

ECHO = """
import errno
import signal
import socket
import weakref
import pyev

class Connection(object):
    def __init__(self, sock, loop):
        self.sock, self.buf = sock, b""
        self.sock.setblocking(0)
        self.watcher = pyev.Io(self.sock, pyev.EV_READ, loop, self.io_cb)
        self.watcher.start()

    def again(self, events):
        self.watcher.stop()
        self.watcher.set(self.sock, events)
        self.watcher.start()

    def io_cb(self, watcher, revents):
        if revents & pyev.EV_READ:
            read = self.sock.recv(1024)
            if not read:
                return self.close()
            self.buf += read
            self.again(pyev.EV_READ | pyev.EV_WRITE)
        else:
            self.buf = self.buf[self.sock.send(self.buf):]
            if not self.buf:
                self.again(pyev.EV_READ)

    def close(self):
        self.watcher.stop()
        self.watcher = None
        self.sock.close()

class Server(object):
    def __init__(self, address):
        self.sock = socket.socket()
        self.sock.bind(address)
        self.sock.setblocking(0)
        self.loop = pyev.default_loop()
        self.watchers = [
            pyev.Signal(sig, self.loop, self.signal_cb) for sig in (signal.SIGINT, signal.SIGTERM)
        ]
        self.watchers.append(pyev.Io(self.sock, pyev.EV_READ, self.loop, self.io_cb))
        self.conns = weakref.WeakValueDictionary()

    def signal_cb(self, watcher, revents):
        self.stop()

    def io_cb(self, watcher, revents):
        while True:
            try:
                sock, address = self.sock.accept()
            except socket.error as err:
                if err.args[0] not in (errno.EAGAIN, errno.EWOULDBLOCK):
                    raise
                break
            self.conns[address] = Connection(sock, self.loop)

    def start(self):
        self.sock.listen(socket.SOMAXCONN)
        for watcher in self.watchers:
            watcher.start()
        print(self.sock.getsockname()[1], flush=True)
        self.loop.start()

    def stop(self):
        self.loop.stop(pyev.EVBREAK_ALL)
        self.sock.close()
        while self.watchers:
            self.watchers.pop().stop()
        for conn in list(self.conns.values()):
            conn.close()
        print("stopped", flush=True)

if __name__ == "__main__":
    Server(("127.0.0.1", 0)).start()
"""


def program(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(pyev.__file__).parent.parent)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_signal_example() -> None:
    with program(SIGNALS) as running:
        assert running.stdout is not None
        assert [running.stdout.readline() for _ in range(3)] == [f"{n} True True\n" for n in (1, 2, 3)]
        running.send_signal(signal.SIGINT)
        assert running.stdout.read().endswith("stopped\n")
    assert running.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_echo_server(number: signal.Signals) -> None:
    with program(ECHO) as running:
        assert running.stdout is not None
        port = int(running.stdout.readline())
        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(5)]
        for client in clients:
            client.sendall(b"x" * 5000)
        for client in clients:
            with client.makefile("rb") as answer:
                assert answer.read(5000) == b"x" * 5000
        clients.pop().close()
        running.send_signal(number)
        assert running.stdout.read() == "stopped\n"
        for client in clients:
            client.close()
    assert running.returncode == 0
