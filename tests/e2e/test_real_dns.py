"""DNS questions to dnsmasq: one datagram there, one back; and over TCP by length prefix."""

from __future__ import annotations

import struct
from typing import Any

from evsockets import LengthPrefixedFramePicker, ReadOperation, RequestExecutor, WriteOperation
from support.wire import add, talk


def question(number: int, name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def address_in(answer: bytes, number: int) -> str:
    """The IPv4 address that ends an answer with exactly one A record."""
    identifier, flags, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    assert (identifier, flags & 0x800F, answers) == (number, 0x8000, 1)
    return ".".join(map(str, answer[-4:]))


def ask(number: int, name: str) -> WriteOperation:
    return WriteOperation(question(number, name), then=ReadOperation())


def test_two_hundred_questions_at_once(executor: RequestExecutor, dnsmasq: int) -> None:
    address = f"udp://127.0.0.1:{dnsmasq}"
    logs = [add(executor, address, ask(number, f"host{number}.many.test")) for number in range(200)]
    executor.execute_request()
    for number, log in enumerate(logs):
        (answer,) = log.frames
        assert address_in(answer, number) == "192.0.2.9"
        assert (log.errors, log.timeouts) == ([], [])


def test_one_question_after_another_on_one_socket(executor: RequestExecutor, dnsmasq: int) -> None:
    names = ["evsockets.test", "a.many.test", "b.many.test"]
    found: list[str] = []

    def on_read(event: Any) -> None:
        found.append(address_in(event.frame.data, len(found)))
        assert event.frame.remote_address == ("127.0.0.1", dnsmasq)
        if len(found) < len(names):
            event.next_is_write(question(len(found), names[len(found)]), ReadOperation())

    talk(executor, f"udp://127.0.0.1:{dnsmasq}", ask(0, names[0]), on={"READ": on_read})
    assert found == ["192.0.2.7", "192.0.2.9", "192.0.2.9"]


def test_the_same_over_tcp(executor: RequestExecutor, dnsmasq: int) -> None:
    data = question(7, "long.test", kind=16)
    read = ReadOperation(LengthPrefixedFramePicker(size=2))
    asked = WriteOperation(struct.pack(">H", len(data)) + data, then=read)
    (answer,) = talk(executor, f"tcp://127.0.0.1:{dnsmasq}", asked).frames
    assert answer.count(b"x" * 200) == 4


def test_nobody_listens(executor: RequestExecutor, unused_port: int) -> None:
    log = talk(executor, f"udp://127.0.0.1:{unused_port}", ask(1, "evsockets.test"))
    assert log.error.errno is not None
    assert log.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
