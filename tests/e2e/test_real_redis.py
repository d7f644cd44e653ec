"""Redis over TCP and a Unix socket: pipelined commands, binary values, many clients."""

from __future__ import annotations

import os

import pytest

from evsockets import RequestExecutor
from support.clients import Resp, begin
from support.servers import Redis
from support.wire import Log


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, redis: Redis) -> str:
    return f"tcp://127.0.0.1:{redis.port}" if request.param == "tcp" else f"unix://{redis.path}"


def converse(executor: RequestExecutor, address: str, *commands: tuple[bytes, ...]) -> Resp:
    conversation = Resp(*commands)
    begin(executor, conversation, address=address)
    return conversation


def test_every_kind_of_reply(executor: RequestExecutor, address: str) -> None:
    recorder = Log()
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
    assert recorder.errors == []
    replies = conversation.replies
    assert replies[:7] == [b"PONG", b"OK", None, b"OK", b"a\r\nb", 3, [b"1", b"", b"3"]]
    assert isinstance(replies[7], Exception) and "unknown command" in str(replies[7])
    assert replies[8:] == [4]


def test_every_kind_of_reply_of_the_third_protocol(executor: RequestExecutor, address: str) -> None:
    script = b"""
        redis.setresp(3)
        return {1, {double=3.5}, {big_number='1234567999999999999999999999999999999'}, true, false, {},
                {map={a={1, 'b'}, c={set={x=true}}}}, {set={1, 2}},
                {verbatim_string={format='txt', string='v'}},
                {ok='fine'}, {err='ERR no'}}"""
    conversation = converse(
        executor,
        address,
        (b"HELLO", b"3"),
        (b"EVAL", script, b"0"),
        (b"GET", b"nothing"),
        (b"SUBSCRIBE", b"here"),
        (b"PUBLISH", b"here", b"hello"),
        (b"UNSUBSCRIBE", b"here"),
    )
    conversation.more(1)  # what was published comes besides
    executor.execute_request()
    hello, scripted, nothing, *pushes = conversation.replies
    assert hello[b"proto"] == 3 and hello[b"server"] == b"redis"
    *things, error = scripted
    number = 1234567999999999999999999999999999999
    assert things[:6] == [1, 3.5, number, True, False, []]
    assert things[6:] == [{b"a": [1, b"b"], b"c": {b"x"}}, {1, 2}, b"v", b"fine"]
    assert isinstance(error, Exception) and str(error) == "ERR no" and nothing is None
    subscribed, message = [b"subscribe", b"here", 1], [b"message", b"here", b"hello"]
    assert pushes == [subscribed, message, 1, [b"unsubscribe", b"here", 0]]


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
    recorder = Log()
    executor.with_event_handler(recorder)
    conversation = converse(executor, address, (b"PING",), (b"QUIT",), (b"PING",))
    executor.execute_request()
    assert conversation.replies == [b"PONG", b"OK"]
    (error,) = recorder.errors
    assert type(error).__name__ == "DisconnectedError"
    assert recorder.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
