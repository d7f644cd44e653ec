"""DNS questions to dnsmasq: one datagram there, one back; and over TCP by length prefix."""

from __future__ import annotations

import struct
from typing import Any

from evsockets import (
    ClientSocket,
    EventType,
    LengthPrefixedFramePicker,
    RawFramePicker,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.wire import Log


def question(number: int, name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def address_in(answer: bytes, number: int) -> str:
    """The IPv4 address that ends an answer with exactly one A record."""
    identifier, flags, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    assert (identifier, flags & 0x800F, answers) == (number, 0x8000, 1)
    return ".".join(map(str, answer[-4:]))


def ask(
    executor: RequestExecutor, address: str, data: bytes, picker: Any = None, **metadata: Any
) -> list[bytes]:
    answers: list[bytes] = []
    executor.socket_bag.add_socket(
        ClientSocket(),
        WriteOperation(data, then=ReadOperation(picker or RawFramePicker())),
        handler={EventType.READ: lambda event: answers.append(event.frame.data)},
        address=address,
        **metadata,
    )
    return answers


def test_two_hundred_questions_at_once(executor: RequestExecutor, dnsmasq: int) -> None:
    recorder = Log()
    executor.with_event_handler(recorder)
    address = f"udp://127.0.0.1:{dnsmasq}"
    asked = {
        number: ask(executor, address, question(number, f"host{number}.many.test"), io_timeout=20)
        for number in range(200)
    }
    executor.execute_request()
    assert recorder.errors == []
    assert recorder.of(EventType.TIMEOUT) == []
    for number, answers in asked.items():
        (answer,) = answers
        assert address_in(answer, number) == "192.0.2.9"


def test_one_question_after_another_on_one_socket(executor: RequestExecutor, dnsmasq: int) -> None:
    names = ["evsockets.test", "a.many.test", "b.many.test"]
    found: list[str] = []

    def on_read(event: Any) -> None:
        found.append(address_in(event.frame.data, len(found)))
        assert event.frame.remote_address == ("127.0.0.1", dnsmasq)
        if len(found) < len(names):
            event.next_is_write(question(len(found), names[len(found)]), ReadOperation())

    executor.socket_bag.add_socket(
        ClientSocket(),
        WriteOperation(question(0, names[0]), then=ReadOperation()),
        handler={EventType.READ: on_read},
        address=f"udp://127.0.0.1:{dnsmasq}",
        io_timeout=20,
    )
    executor.execute_request()
    assert found == ["192.0.2.7", "192.0.2.9", "192.0.2.9"]


def test_the_same_over_tcp(executor: RequestExecutor, dnsmasq: int) -> None:
    data = question(7, "long.test", kind=16)
    answers = ask(
        executor,
        f"tcp://127.0.0.1:{dnsmasq}",
        struct.pack(">H", len(data)) + data,
        LengthPrefixedFramePicker(size=2),
    )
    executor.execute_request()
    (answer,) = answers
    assert answer.count(b"x" * 200) == 4


def test_nobody_listens(executor: RequestExecutor, unused_port: int) -> None:
    recorder = Log()
    executor.with_event_handler(recorder)
    ask(executor, f"udp://127.0.0.1:{unused_port}", question(1, "evsockets.test"), io_timeout=20)
    executor.execute_request()
    (error,) = recorder.errors
    assert error.errno is not None
    assert recorder.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
