"""The same recorded conversations give the same events on every engine and variant."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import EngineUnavailableError, create_engine
from evsockets.testing.conversations import CONVERSATIONS, run
from support.optional import library

VARIANTS = (
    *("selectors:poll", "selectors:select", "libev:epoll", "libev:poll", "libev:select"),
    *("libevent:epoll", "libevent:epoll-changelist", "libevent:poll", "libevent:select"),
)
USUAL = ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]
Lives = dict[str, list[tuple[Any, ...]]]


def conversation(name: str, engine: str) -> Lives:
    if name == "tls":
        library("trustme")
    with create_engine(engine) as made:
        return run(name, made)


@pytest.fixture(scope="module")
def expected() -> dict[str, Lives]:
    return {name: conversation(name, "selectors:epoll") for name in CONVERSATIONS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(expected: dict[str, Lives], variant: str, engine: str) -> None:
    """The engines themselves are compared by the end-to-end kit."""
    if variant.partition(":")[0] != engine:
        pytest.skip("a variant of another engine")
    try:
        create_engine(variant).close()
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    assert {name: conversation(name, variant) for name in CONVERSATIONS} == expected


def test_the_traces_say_what_they_should(expected: dict[str, Lives]) -> None:
    """A comparison of empty traces would prove nothing."""
    lives = {name: life for one in expected.values() for name, life in one.items()}
    names = {name: [entry[0] for entry in life] for name, life in lives.items()}
    for name in ("much", "pieces", "half", "unix", "verified", "held"):
        assert names[name] == USUAL, name
    assert names["lines"] == [*USUAL[:4], "READ", "EXCEPTION", *USUAL[-2:]]
    assert [entry[1] for entry in lives["left over"] if entry[0] == "READ"] == [
        b"one\n", b"two\n", b"\n", b"12345",
    ]  # fmt: skip
    assert lives["inside"][2][1] == "FrameError" and lives["boundary"][2][1] == "DisconnectedError"
    assert lives["refused"][-2][0] == "EXCEPTION" and lives["distrustful"][1][1] == "TlsHandshakeError"
    assert names["stray"].count("DATA_ALERT") == 25 and names["asked"].count("DATA_ALERT") == 1
    assert names["urgent"].index("OOB") < names["urgent"].index("READ")
    stages = {name: lives[name][-3][1] for name in ("reading", "idle", "request")}
    assert stages == {"reading": "IO", "idle": "IDLE", "request": "REQUEST"}
    assert (
        names["reading"].count("TIMEOUT") == 2
        and ("TIMEOUT", "CONNECTION", "handshaking") in lives["handshake"]
    )
    assert ("EXCEPTION", "SlowTransferError", None) in lives["slow"]
    assert names["empty"] == USUAL and names["two"] == [*USUAL[:4], "READ", *USUAL[-2:]]
    assert lives["nobody"][3][:2] == ("EXCEPTION", "ReceiveError")
    assert names["server udp"].count("ACCEPT") == 3
    assert names["client 99"] == [*USUAL[:4], "READ", "READ", *USUAL[-2:]]
    assert names["victim"] == ["INITIALIZE", "CONNECTED", *USUAL[-2:]]
    assert names["unborn"] == ["INITIALIZE", "FINALIZE"]
