"""An HTTP server of several processes that treats its clients as the path says, good and bad.

Each worker has a thread for each client; all accept from one listening socket. Run as a program it is one
worker: `python http_workers.py DESCRIPTOR`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

BODY = bytes(range(256)) * 40


def answer(sock: socket.socket, path: str) -> None:
    """Serve one request."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Worker: %d\r\n\r\n" % (len(BODY), os.getpid())
    half = len(BODY) // 2
    match path:
        case "/page":
            sock.sendall(head + BODY)
        case "/drip":
            for start in range(0, len(head), 7):
                sock.sendall(head[start : start + 7])
                threading.Event().wait(0.001)
            for start in range(0, len(BODY), 1000):
                sock.sendall(BODY[start : start + 1000])
                threading.Event().wait(0.001)
        case "/hang":
            pass
        case "/half":
            sock.sendall(head + BODY[:half])
        case "/cut":
            sock.sendall(head + BODY[:half])
            sock.shutdown(socket.SHUT_RDWR)
        case "/reset":
            sock.sendall(head + BODY[:half])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        case "/garbage":
            sock.sendall(b"\0\xff" * 20_000)
    with contextlib.suppress(OSError):
        while sock.recv(65536):  # until the client goes
            pass


def serve(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            data = sock.recv(65536)
            if not data:
                return
            request += data
        answer(sock, request.split()[1].decode())


def work(descriptor: int) -> None:
    """One worker."""
    with socket.socket(fileno=descriptor) as listener:
        listener.setblocking(True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()


@contextlib.contextmanager
def http_workers(count: int) -> Iterator[int]:
    """`count` worker processes; their port."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, contextlib.ExitStack() as stack:
        number = listener.fileno()
        for _ in range(count):
            command = [sys.executable, __file__, str(number)]
            process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield listener.getsockname()[1]


if __name__ == "__main__":
    work(int(sys.argv[1]))
