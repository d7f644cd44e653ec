"""The server jobs as hand-written `select.epoll` loops: what every ratio is to."""

from __future__ import annotations

import select
import socket
import ssl

from .job import HOST, RECEIVE, Job, announce, parse_job

IN = select.EPOLLIN


def listen() -> socket.socket:
    """A listening socket on a free port."""
    listener = socket.create_server((HOST, 0), backlog=4096)
    listener.setblocking(False)
    announce(listener.getsockname()[1])
    return listener


def accept(listener: socket.socket) -> socket.socket:
    """One client, non-blocking."""
    client, _ = listener.accept()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def echo(job: Job) -> None:
    """Send back what comes, or only whole lines of it."""
    framed = job.work == "lines"
    listener = listen()
    poller = select.epoll()
    poller.register(listener.fileno(), IN)
    clients: dict[int, socket.socket] = {}
    partial: dict[int, bytes] = {}
    while True:
        for fd, _ in poller.poll():
            client = clients.get(fd)
            if client is None:
                client = accept(listener)
                clients[client.fileno()] = client
                poller.register(client.fileno(), IN)
                continue
            try:
                data = client.recv(RECEIVE)
            except ConnectionError:
                data = b""
            if not data:
                del clients[fd]
                client.close()
            elif not framed:
                client.send(data)
            else:
                if fd in partial:
                    data = partial.pop(fd) + data
                frames = data.split(b"\n")
                rest = frames.pop()
                if rest:
                    partial[fd] = rest
                client.send(b"".join([frame + b"\n" for frame in frames]))


def secure_echo(context: ssl.SSLContext) -> None:
    """Send back what comes, over TLS."""
    listener = listen()
    poller = select.epoll()
    poller.register(listener.fileno(), IN)
    clients: dict[int, ssl.SSLSocket] = {}
    while True:
        for fd, _ in poller.poll():
            client = clients.get(fd)
            if client is None:
                accepted = accept(listener)
                client = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
                clients[client.fileno()] = client
                poller.register(client.fileno(), IN)
                continue
            try:
                # Reading does the handshake as well.
                data = client.recv(RECEIVE)
                while data:
                    client.send(data)
                    if not client.pending():
                        break
                    data = client.recv(RECEIVE)
            except ssl.SSLWantReadError:
                continue
            except OSError:
                data = b""
            if not data:
                del clients[fd]
                client.close()


def datagrams(job: Job) -> None:
    """Send every datagram back: one a wake-up, or all there are (flavour "drain")."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((HOST, 0))
    announce(sock.getsockname()[1])
    poller = select.epoll()
    poller.register(sock.fileno(), IN)
    drain = job.flavour == "drain"
    while True:
        poller.poll()
        try:
            sock.sendto(*sock.recvfrom(RECEIVE))
            while drain:
                sock.sendto(*sock.recvfrom(RECEIVE))
        except BlockingIOError:
            pass


if __name__ == "__main__":
    chosen = parse_job()
    secrets = chosen.server_context()
    if chosen.work == "udp":
        datagrams(chosen)
    elif secrets is not None:
        secure_echo(secrets)
    else:
        echo(chosen)
