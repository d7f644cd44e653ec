"""What `fetch --starttls` says to servers: real ones, hand-written ones, and those that refuse or lie."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evsockets import Conversation, FixedLengthFramePicker, Target, TlsHandshakeError, fan_out
from evsockets.cli.certificate import describe
from evsockets.cli.starttls import PROTOCOLS, begin_tls
from support.certificates import Authority, server_side
from support.postgres import SSL_REQUEST, postgres
from support.prosody import prosody
from support.servers import Dovecot, Exim
from support.vsftpd import vsftpd
from support.wire import peer, quietly, tls_script

NAMES = ["localhost", "127.0.0.1", "::1"]
STREAM = (
    b"<?xml version='1.0'?><stream:stream id='>1' from='a' version='1.0' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)
FEATURES = (
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    b"</stream:features>"
)
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
FAILURE = b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"


async def probe(talk: Conversation, protocol: str) -> dict[str, Any]:
    await begin_tls(talk, protocol, "localhost", None)
    tls = talk.metadata.tls
    assert tls is not None and tls.peer_certificate_der is not None
    return describe(tls.peer_certificate_der)


async def logs_in(talk: Conversation) -> bytes:
    """To PostgreSQL, in TLS; the first message that it answers."""
    await begin_tls(talk, "postgres", "localhost", None)
    settings = b"user\0tester\0database\0postgres\0\0"
    await talk.write(struct.pack("!ii", 8 + len(settings), 3 << 16) + settings)
    return (await talk.read(FixedLengthFramePicker(9))).data


def ask(engine: str, ca: Authority, targets: list[Target]) -> dict[str, Any]:
    """What came of each target, by its protocol."""
    outcomes = fan_out(probe, targets, engine=engine, io_timeout=20, stream_context={"ca_file": ca.ca_file})
    return {outcome.target.args[0]: outcome for outcome in outcomes}


def test_real_servers(engine: str, ca: Authority, exim: Exim, dovecot: Dovecot, tmp_path: Path) -> None:
    with vsftpd(tmp_path, ca) as ftp, postgres(tmp_path, ca) as sql, prosody(tmp_path, ca) as xmpp:
        ports = {
            "smtp": exim.port, "imap": dovecot.imap, "pop3": dovecot.pop3, "ftp": ftp, "xmpp": xmpp,
            "postgres": sql,
        }  # fmt: skip
        assert sorted(ports) == sorted(PROTOCOLS)
        targets = [Target(f"tcp://127.0.0.1:{port}", (name,)) for name, port in ports.items()]
        found = ask(engine, ca, targets)
        (login,) = fan_out(
            logs_in, [f"tcp://127.0.0.1:{sql}"], engine=engine, stream_context={"ca_file": ca.ca_file}
        )
    assert login.value == b"R\0\0\0\x08\0\0\0\0"  # AuthenticationOk
    assert sorted(name for name, outcome in found.items() if outcome.value["names"] == NAMES) == sorted(ports)
    assert {outcome.tls.version for outcome in found.values()} == {"TLSv1.3"}


def says(*answers: bytes, greets: bool = True) -> Callable[[socket.socket], list[bytes]]:
    """A peer that says each answer, after a message of the client's each unless it `greets` first."""

    def script(sock: socket.socket) -> list[bytes]:
        heard = []
        for number, answer in enumerate(answers):
            if number or not greets:
                heard.append(sock.recv(4096))
            sock.sendall(answer)
        return heard

    return script


def test_peers_written_from_the_protocols(engine: str, ca: Authority) -> None:
    heard: dict[str, list[bytes]] = {}

    def then_tls(name: str, script: Callable[[socket.socket], list[bytes]]) -> Callable[[Any], object]:
        def run(sock: socket.socket) -> object:
            heard[name] = script(sock)
            return tls_script(server_side(ca), lambda wrapped: wrapped.recv(1))(sock)

        return run

    scripts = {
        "postgres": says(b"S", greets=False),
        "xmpp": says(STREAM + FEATURES, PROCEED, greets=False),
    }
    with contextlib.ExitStack() as stack:
        targets = [
            Target(stack.enter_context(peer(quietly(then_tls(name, script)))).url(), (name,))
            for name, script in scripts.items()
        ]
        found = ask(engine, ca, targets)
    for name in scripts:
        assert found[name].value["names"] == NAMES
    assert heard["postgres"] == [SSL_REQUEST]
    assert b" to=\"localhost\" version='1.0'" in heard["xmpp"][0]
    assert heard["xmpp"][1].startswith(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")


EHLO = b"250-me\r\n250 STARTTLS\r\n"
REFUSALS = {
    "smtp": [
        (says(b"554 go away\r\n"), "the server does not serve: 554 go away"),
        (says(b"SSH-2.0-x\r\n"), "another protocol: SSH-2.0-x"),
        (says(b"220-a\r\n" * 20_000), "another protocol: 220-a"),
        (says(b"220 a\r\n", b"250-me\r\n250 SIZE\r\n"), "offers no STARTTLS: 250-me; 250 SIZE"),
        (says(b"220 a\r\n", EHLO, b"454 not \x1b[1mnow\r\n"), r"refuses STARTTLS: 454 not \x1b[1mnow"),
        (says(b"220 a\r\n", EHLO, b"220 go\r\n250 injected\r\n"), "14 bytes came before the handshake"),
    ],
    "imap": [
        (says(b"* PREAUTH hello\r\n"), "plain text before TLS: * PREAUTH hello"),
        (says(b"* OK hi\r\n", b"* CAPABILITY\r\na NO busy\r\n"), "refuses STARTTLS: a NO busy"),
    ],
    "pop3": [
        (says(b"-ERR full\r\n"), "does not serve: -ERR full"),
        (says(b"+OK hi\r\n", b"-ERR never\r\n"), "refuses STLS: -ERR never"),
    ],
    "ftp": [
        (says(b"220-two\r\n 530 x\r\n220 lines\r\n", b"530 log in\r\n"), "refuses AUTH TLS: 530 log in"),
    ],
    "xmpp": [
        (says(STREAM + FEATURES, FAILURE, greets=False), "refuses STARTTLS: <failure"),
        (says(STREAM + b"<stream:features><x/></stream:features>", greets=False), "offers no STARTTLS"),
        (says(STREAM + b"</stream:stream>", greets=False), "the server ends the stream"),
        (says(b"<!DOCTYPE a [<!ENTITY b 'b'>]><a>", greets=False), "a document type"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n<html></html>", greets=False), "no XML stream"),
        (says(STREAM + FEATURES, PROCEED + b"<x>", greets=False), "3 bytes came before the handshake"),
    ],
    "postgres": [
        (says(b"N", greets=False), "offers no TLS: N"),
        (says(b"HTTP/1.1", greets=False), "another protocol: H"),
        (says(b"SSL", greets=False), "2 bytes came before the handshake"),
    ],
}  # fmt: skip


def test_refused(engine: str, ca: Authority) -> None:
    """In the server's own words, made fit to be shown; what is more than the answer is not taken for TLS."""
    with contextlib.ExitStack() as stack:
        rows = {
            stack.enter_context(peer(quietly(script))).url(): (protocol, words)
            for protocol, some in REFUSALS.items()
            for script, words in some
        }
        targets = [Target(address, (protocol,)) for address, (protocol, _) in rows.items()]
        outcomes = list(
            fan_out(probe, targets, engine=engine, io_timeout=20, stream_context={"ca_file": ca.ca_file})
        )
    assert len(outcomes) == len(rows)
    for outcome in outcomes:
        assert isinstance(outcome.error, TlsHandshakeError), outcome
        text = str(outcome.error)
        assert text.startswith(f"{outcome.address}: ") and text.count(outcome.address) == 1
        assert rows[outcome.address][1] in text and outcome.error.address == outcome.address


def test_every_protocol_is_tested() -> None:
    assert set(REFUSALS) == set(PROTOCOLS)


def test_an_unknown_protocol(engine: str) -> None:
    with peer(quietly(lambda sock: sock.recv(1))) as other:
        (outcome,) = fan_out(probe, [other.url()], args=("ldap",), engine=engine)
    assert isinstance(outcome.error, ValueError)
    assert str(outcome.error).endswith("known are smtp, imap, pop3, ftp, xmpp, postgres")


@pytest.mark.parametrize(("kind", "expired"), [("server", False), ("expired", True)])
def test_describe(ca: Authority, kind: str, expired: bool) -> None:
    import hashlib
    import ssl

    with open(getattr(ca, kind).certificate) as file:
        der = ssl.PEM_cert_to_DER_cert(file.read().split("-----END")[0] + "-----END CERTIFICATE-----\n")
    found = describe(der)
    assert found["names"] == NAMES
    assert "trustme" in found["subject"] and "trustme" in found["issuer"]
    assert found["not_after"].endswith("Z") and (found["days_left"] < 0) is expired
    assert found["sha256"] == hashlib.sha256(der).hexdigest()
    with pytest.raises(ValueError, match="the certificate cannot be read"):
        describe(der[:100])
