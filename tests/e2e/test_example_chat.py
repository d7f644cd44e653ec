"""The chat of the examples: whoever reads is told everything, whoever does not is sent away."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator

import pytest

from support.command import HANGS, Serving, example

#: How its program does on one engine tells how it does on any.
pytestmark = pytest.mark.once

LINE = b"%098d\r\n"
SIZE = 100
#: Of a member's own, at once. With 200 members 400 kB come for each, more than may wait for it.
LINES = 20


@pytest.fixture
def chat(engine: str) -> Iterator[Serving]:
    with example("chat", "tcp://127.0.0.1:0", EVSOCKETS_ENGINE=engine) as running:
        yield running


def join(chat: Serving, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(HANGS)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", chat.port))
    return sock


def sent_away(chat: Serving) -> int:
    """How many, as the chat tells at its end."""
    chat.process.terminate()
    output, errors = chat.process.communicate(timeout=HANGS)
    assert chat.process.returncode == 0 and errors == ""
    return int(output.split("sent away:")[1])


def meet(members: list[socket.socket]) -> None:
    """Everybody is in the room: each hears the last one."""
    members[-1].sendall(LINE % 0)
    for member in members[:-1]:
        assert member.recv(SIZE, socket.MSG_WAITALL) == LINE % 0


def test_who_reads_is_told_everything(chat: Serving) -> None:
    members = [join(chat) for _ in range(200)]
    try:
        meet(members)
        for member in members:
            member.sendall(b"".join(LINE % number for number in range(LINES)))
        left = {member: (len(members) - 1) * LINES * SIZE for member in members}
        with selectors.DefaultSelector() as selector:
            for member in members:
                selector.register(member, selectors.EVENT_READ)
            while left:
                ready = selector.select(HANGS)
                assert ready, "nothing comes any more"
                for key, _ in ready:
                    member = key.fileobj
                    data = member.recv(1 << 20)
                    assert data, f"sent away with {left[member]} bytes to come"
                    left[member] -= len(data)
                    if not left[member]:
                        del left[member]
                        selector.unregister(member)
    finally:
        for member in members:
            member.close()
    assert sent_away(chat) == 0


def test_who_does_not_read_is_sent_away(chat: Serving) -> None:
    deaf, speaker, listener = join(chat, receive_buffer=4096), join(chat), join(chat)
    with deaf, speaker, listener:
        meet([deaf, speaker, listener])
        line = b"x" * 4000 + b"\n"
        for _ in range(8000):  # more than the kernel keeps for anybody
            speaker.sendall(line)
            assert listener.recv(len(line), socket.MSG_WAITALL) == line
        # What the kernel had taken for it, and then the end.
        assert len(b"".join(iter(lambda: deaf.recv(1 << 20), b""))) < 8000 * len(line)
    assert sent_away(chat) == 1
