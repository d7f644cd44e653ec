"""Operations before any socket has them: what they keep and what they wait for."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    ConversationOperation,
    DelayedOperation,
    MarkerFramePicker,
    NullOperation,
    Operation,
    RawFramePicker,
    ReadOperation,
    ReadWriteOperation,
    ShutdownWriteOperation,
    TlsHandshakeOperation,
    WriteOperation,
)


def test_what_they_wait_for() -> None:
    assert Operation.interest == READ
    assert ReadOperation().interest == READ
    assert WriteOperation().interest == WRITE
    assert ShutdownWriteOperation().interest == WRITE
    assert NullOperation().interest == READ  # an idle connection listens for what nobody expects
    assert TlsHandshakeOperation().interest == READ  # and for what TLS wants besides
    assert DelayedOperation(WriteOperation(), lambda *args: False).interest == 0


def test_a_handshake_keeps_what_it_is_given() -> None:
    bare = TlsHandshakeOperation()
    assert bare.next_operation is bare.context is bare.server_hostname is None and not bare.allow_leftover
    context, following = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ReadOperation()
    given = TlsHandshakeOperation(following, context=context, server_hostname="h", allow_leftover=True)
    assert given.next_operation is following and given.context is context
    assert given.server_hostname == "h" and given.allow_leftover


@pytest.mark.parametrize(("wrong", "error"), [(5, TypeError), (b"h", TypeError), ("", ValueError)])
def test_a_handshake_with_a_wrong_name(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="server_hostname"):
        TlsHandshakeOperation(server_hostname=wrong)


def test_queues_of_a_duplex() -> None:
    """The head of each direction first; a foreign operation changes nothing."""
    duplex = ReadWriteOperation()
    assert duplex.read_first and not (duplex._reads or duplex._writes)
    reads, writes = [ReadOperation() for _ in range(3)], [WriteOperation() for _ in range(3)]
    for read, write in zip(reads, writes, strict=True):
        duplex.schedule(write)
        duplex.schedule(read)
    assert list(duplex._reads) == reads and list(duplex._writes) == writes
    for wrong in (NullOperation(), ReadWriteOperation(), None, b"x"):
        with pytest.raises(TypeError):
            duplex.schedule(wrong)  # type: ignore[arg-type]
    assert list(duplex._reads) == reads and list(duplex._writes) == writes


def test_pickers_of_reads() -> None:
    assert type(ReadOperation().picker) is RawFramePicker
    for wrong in (b"\n", 5, RawFramePicker, "raw"):
        with pytest.raises(TypeError, match="frame picker"):
            ReadOperation(wrong)  # type: ignore[arg-type]


def test_a_delay_of_a_delay() -> None:
    inner = DelayedOperation(ReadOperation(), lambda *args: False)
    assert DelayedOperation(inner, lambda *args: False).operation is inner


def test_operations_begin_with_their_defaults() -> None:
    assert isinstance(ReadOperation().picker, RawFramePicker)
    line = MarkerFramePicker(None, b"\n")
    assert ReadOperation(line).picker is line
    write = WriteOperation()
    assert (write.data, write.out_of_band, write.then) == (None, False, None)
    then = ReadOperation()
    write = WriteOperation(b"!", out_of_band=True, then=then)
    assert (write.data, write.out_of_band, write.then) == (b"!", True, then)
    write.data = None
    assert write.data is None


async def first(talk: Any) -> None: ...


async def second(talk: Any) -> None: ...


def test_a_conversation_s_function_may_be_set() -> None:
    operation = ConversationOperation(first)
    operation.function = second
    assert operation.function is second and "second()" in repr(operation)
    with pytest.raises(TypeError, match="takes a function"):
        operation.function = 5  # type: ignore[assignment]
    assert operation.function is second
