"""Redis over TCP and a Unix socket: pipelined commands, binary values, many clients."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import DisconnectedError, RequestExecutor
from support.clients import Resp, begin
from support.servers import Redis


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, redis: Redis) -> str:
    return f"tcp://127.0.0.1:{redis.port}" if request.param == "tcp" else f"unix://{redis.path}"


Ask = Callable[..., list[Any]]


@pytest.fixture
def ask(executor: RequestExecutor, address: str) -> Ask:
    """The replies to the commands of one client, in a run of its own; `more` come besides."""

    def ask(*commands: tuple[bytes, ...], more: int = 0) -> list[Any]:
        conversation = Resp(*commands)
        conversation.more(more)
        log = begin(executor, conversation, address)
        executor.execute_request()
        assert log.errors == []
        return conversation.replies

    return ask


def test_every_kind_of_reply(ask: Ask) -> None:
    replies = ask(
        (b"PING",), (b"FLUSHALL",), (b"GET", b"nothing"), (b"SET", b"key", b"a\r\nb"), (b"GET", b"key"),
        (b"RPUSH", b"list", b"1", b"", b"3"), (b"LRANGE", b"list", b"0", b"-1"), (b"NONSENSE",),
        (b"STRLEN", b"key"),
    )  # fmt: skip
    assert replies[:7] == [b"PONG", b"OK", None, b"OK", b"a\r\nb", 3, [b"1", b"", b"3"]]
    assert isinstance(replies[7], Exception) and "unknown command" in str(replies[7])
    assert replies[8:] == [4]


def test_every_kind_of_reply_of_the_third_protocol(ask: Ask) -> None:
    script = b"""
        redis.setresp(3)
        return {1, {double=3.5}, {big_number='1234567999999999999999999999999999999'}, true, false, {},
                {map={a={1, 'b'}, c={set={x=true}}}}, {set={1, 2}},
                {verbatim_string={format='txt', string='v'}},
                {ok='fine'}, {err='ERR no'}}"""
    hello, scripted, nothing, *pushes = ask(
        (b"HELLO", b"3"), (b"EVAL", script, b"0"), (b"GET", b"nothing"), (b"SUBSCRIBE", b"here"),
        (b"PUBLISH", b"here", b"hello"), (b"UNSUBSCRIBE", b"here"), more=1,  # what was published
    )  # fmt: skip
    assert hello[b"proto"] == 3 and hello[b"server"] == b"redis"
    *things, error = scripted
    number = 1234567999999999999999999999999999999
    assert things[:6] == [1, 3.5, number, True, False, []]
    assert things[6:] == [{b"a": [1, b"b"], b"c": {b"x"}}, {1, 2}, b"v", b"fine"]
    assert isinstance(error, Exception) and str(error) == "ERR no" and nothing is None
    subscribed, message = [b"subscribe", b"here", 1], [b"message", b"here", b"hello"]
    assert pushes == [subscribed, message, 1, [b"unsubscribe", b"here", 0]]


def test_ten_thousand_commands_in_one_pipeline(ask: Ask) -> None:
    replies = ask((b"DEL", b"pipelined"), *[(b"INCR", b"pipelined")] * 10_000)
    assert replies[1:] == list(range(1, 10_001))


def test_a_big_binary_value_there_and_back(ask: Ask) -> None:
    value = os.urandom(8 * 1024 * 1024)
    assert ask((b"SET", b"big", value), (b"GET", b"big"), (b"DEL", b"big")) == [b"OK", value, 1]


def test_two_hundred_clients_count_together(executor: RequestExecutor, address: str, ask: Ask) -> None:
    ask((b"SET", b"together", b"0"))
    clients = [Resp(*[(b"INCR", b"together")] * 20) for _ in range(200)]
    for client in clients:
        begin(executor, client, address)
    executor.execute_request()
    numbers = [number for client in clients for number in client.replies]
    assert sorted(numbers) == list(range(1, 4001))


def test_a_server_that_ends_the_conversation(executor: RequestExecutor, address: str) -> None:
    conversation = Resp((b"PING",), (b"QUIT",), (b"PING",))
    log = begin(executor, conversation, address)
    executor.execute_request()
    assert conversation.replies == [b"PONG", b"OK"]
    assert type(log.error) is DisconnectedError
    assert log.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
