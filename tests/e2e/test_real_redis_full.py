"""A Redis server that has as many clients as it may: its refusal comes through each time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from evsockets import Operation, ReadOperation, ReadWriteOperation, RequestExecutor, WriteOperation
from support import servers
from support.service import LINE
from support.wire import add, talk

REFUSAL = b"-ERR max number of clients reached\r\n"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    """Redis with its one client: the test run."""
    with servers.redis(tmp_path_factory.mktemp("redis"), "--maxclients", "1") as running:
        deadline = time.monotonic() + servers.START_PATIENCE
        while True:  # who asked whether it is there yet may still be counted
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(servers.START_PATIENCE)
                client.connect(running.path)
                answer = b""
                try:
                    client.sendall(b"PING\r\n")
                    answer = client.recv(100)
                except OSError:
                    pass
                if answer == b"+PONG\r\n":
                    yield running
                    return
            assert time.monotonic() < deadline
            time.sleep(servers.POLL_INTERVAL)


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, full: servers.Redis) -> str:
    return f"tcp://127.0.0.1:{full.port}" if request.param == "tcp" else f"unix://{full.path}"


FORMS: dict[str, Callable[[], Operation]] = {
    "write then read": lambda: WriteOperation(b"PING\r\n", then=ReadOperation(LINE)),
    "both directions": lambda: ReadWriteOperation(
        True, [ReadOperation(LINE), WriteOperation([b"PING", b"\r\n"])]
    ),
    "a large value": lambda: WriteOperation(
        b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$3000000\r\n" + bytes(3_000_002), then=ReadOperation(LINE)
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_reason_comes_through(executor: RequestExecutor, address: str, form: str) -> None:
    for _ in range(40):
        assert talk(executor, address, FORMS[form]()).frames == [REFUSAL]


def test_forty_at_once(executor: RequestExecutor, address: str) -> None:
    logs = [add(executor, address, FORMS["write then read"]()) for _ in range(40)]
    executor.execute_request()
    assert [log.frames for log in logs] == [[REFUSAL]] * 40
