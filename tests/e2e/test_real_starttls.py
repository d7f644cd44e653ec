"""STARTTLS with Dovecot's IMAP server: plain text, the handshake on the open connection, then TLS."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    EventType,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    TlsHandshakeError,
    TlsHandshakeOperation,
    WriteOperation,
)
from support.certificates import Authority
from support.clients import LINE, begin
from support.servers import Dovecot


class Imap:
    """Greeting, STARTTLS, handshake, LOGIN, LOGOUT; `said` is what the server answered to each."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.tls: list[Any] = []
        self.handler = {EventType.READ: self._on_read}
        self.operation = ReadOperation(LINE)

    def _on_read(self, event: Any) -> None:
        line = event.frame.data
        if line.startswith(b"* ") and self.said:
            event.next_is_read(LINE)  # untagged news
            return
        self.said.append(line)
        self.tls.append(event.metadata.tls)
        read = ReadOperation(LINE)
        match len(self.said):
            case 1:
                event.next_is_write(b"a STARTTLS\r\n", read)
            case 2:
                login = WriteOperation(b"b LOGIN tester secret\r\n", then=read)
                event.next_is(TlsHandshakeOperation(login, server_hostname="localhost"))
            case 3:
                event.next_is_write(b"c LOGOUT\r\n", read)


@pytest.mark.parametrize("sessions", [1, 20])
def test_login_after_starttls(
    executor: RequestExecutor, dovecot: Dovecot, ca: Authority, sessions: int
) -> None:
    conversations = [Imap() for _ in range(sessions)]
    address, context = f"tcp://127.0.0.1:{dovecot.imap}", StreamContext(ca_file=ca.ca_file)
    logs = [begin(executor, each, address, stream_context=context) for each in conversations]
    executor.execute_request()
    assert [log.errors for log in logs] == [[]] * sessions
    for conversation in conversations:
        greeting, go_on, login, logout = conversation.said
        assert greeting.startswith(b"* OK")
        assert go_on.startswith(b"a OK")
        assert login.startswith(b"b OK")
        assert logout.startswith(b"c OK")
        assert conversation.tls[:2] == [None, None]
        assert conversation.tls[2].version in ("TLSv1.2", "TLSv1.3")


def test_starttls_with_a_stranger_fails(executor: RequestExecutor, dovecot: Dovecot, ca: Authority) -> None:
    conversation = Imap()
    context = StreamContext(ca_file=ca.stranger.ca_file)
    log = begin(executor, conversation, f"tcp://127.0.0.1:{dovecot.imap}", stream_context=context)
    executor.execute_request()
    assert isinstance(log.error, TlsHandshakeError)
    assert len(conversation.said) == 2
    assert log.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
