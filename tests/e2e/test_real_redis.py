"""Redis over TCP and a Unix socket: pipelined commands, binary values, many clients."""

from __future__ import annotations

import os

import pytest

from evsockets import RequestExecutor
from support.clients import Recorder, Resp, begin
from support.servers import Redis


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, redis: Redis) -> str:
    return f"tcp://127.0.0.1:{redis.port}" if request.param == "tcp" else f"unix://{redis.path}"


def converse(executor: RequestExecutor, address: str, *commands: tuple[bytes, ...]) -> Resp:
    conversation = Resp(*commands)
    begin(executor, conversation, address=address)
    return conversation


def test_every_kind_of_reply(executor: RequestExecutor, address: str) -> None:
    recorder = Recorder()
    executor.with_event_handler(recorder)
    conversation = converse(
        executor,
        address,
        (b"PING",),
        (b"FLUSHALL",),
        (b"GET", b"nothing"),
        (b"SET", b"key", b"a\r\nb"),
        (b"GET", b"key"),
        (b"RPUSH", b"list", b"1", b"", b"3"),
        (b"LRANGE", b"list", b"0", b"-1"),
        (b"NONSENSE",),
        (b"STRLEN", b"key"),
    )
    executor.execute_request()
    assert recorder.exceptions() == []
    replies = conversation.replies
    assert replies[:9] == [b"PONG", b"OK", None, b"OK", b"a\r\nb", 3, b"1", b"", b"3"]
    assert "unknown command" in str(replies[9])
    assert replies[10:] == [4]


def test_ten_thousand_commands_in_one_pipeline(executor: RequestExecutor, address: str) -> None:
    commands = [(b"INCR", b"pipelined")] * 10_000
    conversation = converse(executor, address, (b"DEL", b"pipelined"), *commands)
    executor.execute_request()
    assert conversation.replies[1:] == list(range(1, 10_001))


def test_a_big_binary_value_there_and_back(executor: RequestExecutor, address: str) -> None:
    value = os.urandom(8 * 1024 * 1024)
    conversation = converse(executor, address, (b"SET", b"big", value), (b"GET", b"big"), (b"DEL", b"big"))
    executor.execute_request()
    assert conversation.replies == [b"OK", value, 1]


def test_two_hundred_clients_count_together(executor: RequestExecutor, address: str) -> None:
    converse(executor, address, (b"SET", b"together", b"0"))
    executor.execute_request()
    clients = [converse(executor, address, *[(b"INCR", b"together")] * 20) for _ in range(200)]
    executor.execute_request()
    numbers = [number for client in clients for number in client.replies]
    assert sorted(numbers) == list(range(1, 4001))


def test_a_server_that_ends_the_conversation(executor: RequestExecutor, address: str) -> None:
    recorder = Recorder()
    executor.with_event_handler(recorder)
    conversation = converse(executor, address, (b"PING",), (b"QUIT",), (b"PING",))
    executor.execute_request()
    assert conversation.replies == [b"PONG", b"OK"]
    (error,) = recorder.exceptions()
    assert type(error).__name__ == "DisconnectedError"
    assert recorder.names()[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
