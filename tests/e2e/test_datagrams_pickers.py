"""Frame pickers and datagrams: what is a frame, what is the end, what is left."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    EventType,
    FixedLengthFramePicker,
    FrameError,
    FramePicker,
    RawFramePicker,
    ReadOperation,
    RequestExecutor,
    TlsDataFlushEventHandler,
    WriteOperation,
)
from support.service import Peers, Service
from support.wire import Log, talk


@pytest.mark.parametrize(
    ("picker", "frames", "errors"),
    [
        (RawFramePicker(), [b"hello"], []),
        (EndOfStreamFramePicker(), [b"hello", b""], []),
        (EmptyFramePicker(), [b"hello", b""], []),
        (FixedLengthFramePicker(0), [b"hello", b""], []),
        (FixedLengthFramePicker(1), [b"hello"], [DisconnectedError]),
    ],
    ids=repr,
)
def test_a_second_read_meets_the_end(
    executor: RequestExecutor, picker: FramePicker, frames: list[bytes], errors: list[type]
) -> None:
    """The end of a datagram is what the end of a stream is to the picker."""
    seen: list[bytes] = []

    def on_read(event: Any) -> None:
        seen.append(event.frame.data)
        if len(seen) == 1:
            event.next_is_read(picker)

    with Peers() as peers:
        service = Service(
            executor, "udp://127.0.0.1:0", first=ReadOperation, handler={EventType.READ: on_read},
            started=lambda event: peers.datagram(event.metadata.local_address, b"hello"),
        )  # fmt: skip
        executor.execute_request()
    assert seen == frames
    assert [type(error) for error in service.talking.exceptions()] == errors


def test_an_empty_frame_takes_no_datagram(executor: RequestExecutor) -> None:
    seen: list[bytes] = []

    def on_read(event: Any) -> None:
        seen.append(event.frame.data)
        if len(seen) == 1:
            event.next_is_read()

    with Peers() as peers:
        Service(
            executor, "udp://127.0.0.1:0", first=lambda: ReadOperation(EmptyFramePicker()),
            handler={EventType.READ: on_read},
            started=lambda event: peers.datagram(event.metadata.local_address, b"hello"),
        )  # fmt: skip
        executor.execute_request()
    assert seen == [b"", b"hello"]


def test_an_idle_client_keeps_what_the_flush_handler_saw(executor: RequestExecutor) -> None:
    """The handler answers the first alert with an empty read: the datagram stays for the second."""
    log = Log()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            _, client = server.recvfrom(10)
            server.sendto(b"pushed", client)

        def on_read(event: Any) -> None:
            event.metadata.keep_alive = False

        on = {"DATA_ALERT": lambda event: event.next_is_read(), "READ": on_read}
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"hello"), keep_alive=True, idle_timeout=5,
            address=f"udp://127.0.0.1:{server.getsockname()[1]}",
            handler=TlsDataFlushEventHandler(log.handler(on)),
        )  # fmt: skip
        executor.call_soon_threadsafe(executor.call_soon_threadsafe, answer)
        executor.execute_request()
    assert log.frames == [b"pushed"] and log.timeouts == []


def test_an_unfinished_frame_is_told_with_the_address(executor: RequestExecutor) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{server.getsockname()[1]}"
        server.settimeout(10)

        def answer(event: Any) -> None:
            executor.call_soon_threadsafe(lambda: server.sendto(b"ab", server.recvfrom(10)[1]))

        log = talk(
            executor, address, WriteOperation(b"x", then=ReadOperation(FixedLengthFramePicker(4))),
            on={"WRITE": answer},
        )  # fmt: skip
    assert isinstance(log.error, FrameError) and log.error.partial.data == b"ab"
    assert address in str(log.error) and "reading" in str(log.error)
