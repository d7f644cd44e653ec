"""TLS handshakes: what they wait for, and the certificate a server shows for a name."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    ReadOperation,
    RequestExecutor,
    TlsHandshakeOperation,
)
from support.wire import peer, read_to_end, talk


@pytest.mark.parametrize("how", ["address", "operation"])
def test_a_handshake_that_waits_does_not_spin(
    executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It waits for the peer's bytes, not for room to send that is always there."""
    polls: list[float | None] = []
    poll = executor.engine.poll

    def counting(timeout: float | None) -> Any:
        polls.append(timeout)
        return poll(timeout)

    monkeypatch.setattr(executor.engine, "poll", counting)
    with peer(read_to_end) as server:
        url = server.url("tls" if how == "address" else "tcp")
        operation = ReadOperation() if how == "address" else TlsHandshakeOperation()
        log = talk(
            executor, url, operation, stream_context={"verify": False},
            connection_timeout=0.2, io_timeout=0.2,
        )  # fmt: skip
    assert log.timeouts == [("CONNECTION" if how == "address" else "IO", "handshaking")]
    assert len(polls) < 30
