"""TLS contexts as StreamContext asks for them, and the names that are verified."""

from __future__ import annotations

import os
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from evsockets.address import parse_address
from evsockets.configuration import StreamContext
from evsockets.transports.tls import TlsTransport
from evsockets.transports.tls_context import client_context, server_context, server_name
from support.certificates import Authority
from support.tls import contexts, shake
from support.transports import pair


def test_contexts_are_shared(ca: Authority, tmp_path: Path) -> None:
    leaf = ca.server
    settings = StreamContext(certificate=leaf.certificate, private_key=leaf.private_key)
    assert server_context(settings) is server_context(settings)
    assert server_context(settings) is not client_context(StreamContext(verify=False))
    copy = tmp_path / "ca.pem"
    copy.write_bytes(Path(ca.ca_file).read_bytes())
    first = client_context(StreamContext(ca_file=copy))
    assert client_context(StreamContext(ca_file=str(copy), backlog=5)) is first
    assert client_context(StreamContext(ca_file=copy, alpn_protocols=("h2",))) is not first
    pinned = client_context(StreamContext(ca_file=copy), parse_address("tlsv1.2://h:1"))
    assert pinned is not first
    assert pinned.minimum_version == pinned.maximum_version == ssl.TLSVersion.TLSv1_2
    os.utime(copy, ns=(1, 1))
    assert client_context(StreamContext(ca_file=copy)) is not first


def test_client_defaults_are_safe(ca: Authority) -> None:
    for verify in (None, True):
        context = client_context(StreamContext(ca_file=ca.ca_file, verify=verify))
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    text = Path(ca.ca_file).read_text()
    given = client_context(StreamContext(ca_data=text))
    assert client_context(StreamContext(ca_data=text.encode())) is given
    assert len(given.get_ca_certs()) == 1 and given.verify_mode == ssl.CERT_REQUIRED
    both = StreamContext(ca_data=text, ca_file=ca.stranger.ca_file)
    assert len(client_context(both).get_ca_certs()) == 2
    open_to_all = client_context(StreamContext(verify=False))
    assert open_to_all.verify_mode == ssl.CERT_NONE
    assert not open_to_all.check_hostname
    assert len(client_context(StreamContext(ca_file=ca.ca_file)).get_ca_certs()) == 1
    with pytest.raises(ValueError, match="'optional' is for servers"):
        client_context(StreamContext(verify="optional"))


@pytest.mark.parametrize(
    ("verify", "mode"),
    [
        (None, ssl.CERT_NONE),
        (False, ssl.CERT_NONE),
        ("optional", ssl.CERT_OPTIONAL),
        (True, ssl.CERT_REQUIRED),
    ],
)
def test_server_verify(ca: Authority, verify: Any, mode: ssl.VerifyMode) -> None:
    leaf = ca.server
    settings = StreamContext(
        certificate=leaf.certificate, private_key=leaf.private_key, verify=verify, ca_file=ca.ca_file
    )
    assert server_context(settings).verify_mode == mode


def test_a_directory_of_authorities(ca: Authority, tmp_path: Path) -> None:
    assert client_context(StreamContext(ca_file=tmp_path)).get_ca_certs() == []


def test_a_ready_context_is_used_as_it_is(ca: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings = StreamContext(tls=context)
    assert client_context(settings) is context
    assert server_context(settings) is context
    pinned = parse_address("tlsv1.3://h:1")
    with pytest.raises(ValueError, match=r"asks for TLSv1\.3 only"):
        client_context(settings, pinned)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    assert client_context(settings, pinned) is context


def test_misconfiguration_names_the_file_and_the_cure(ca: Authority, tmp_path: Path) -> None:
    leaf, other = ca.server, ca.client
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    missing = str(tmp_path / "missing.pem")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "set stream_context={'certificate': ..., 'private_key': ...}"),
        ({"certificate": missing}, f"certificate '{missing}' cannot be read: No such file"),
        ({"certificate": leaf.certificate, "private_key": missing}, f"private_key '{missing}' cannot be"),
        ({"certificate": leaf.certificate}, "set private_key="),
        ({"certificate": leaf.certificate, "private_key": other.private_key}, "do not make a pair"),
        ({"certificate": junk}, "junk.pem"),
        (
            {"certificate": leaf.certificate, "private_key": leaf.private_key, "ca_file": missing},
            f"ca_file '{missing}' cannot be read: No such file",
        ),
        (
            {"certificate": leaf.certificate, "private_key": leaf.private_key, "ca_file": junk},
            "has no PEM certificate",
        ),
    ]
    for settings, words in cases:
        with pytest.raises(ValueError) as caught:
            server_context(StreamContext(**settings))
        assert words in str(caught.value)


def test_an_encrypted_key_is_not_asked_for_on_the_terminal(ca: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    leaf = ca.server
    key = serialization.load_pem_private_key(Path(leaf.private_key).read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ValueError, match=r"encrypted.pem' is encrypted; decrypt it"):
        server_context(StreamContext(certificate=leaf.certificate, private_key=encrypted))


@pytest.mark.parametrize(
    ("text", "settings", "name"),
    [
        ("tls://example.org:1", {}, "example.org"),
        ("tls://example.org.:1", {}, "example.org"),
        ("tls://bücher.example:1", {}, "xn--bcher-kva.example"),
        ("tls://[fe80::1%eth0]:1", {}, "fe80::1"),
        ("tls://127.0.0.1:1", {}, "127.0.0.1"),
        ("tls://127.0.0.1:1", {"server_hostname": "bücher.example"}, "xn--bcher-kva.example"),
        ("unix:///x", {}, None),
        ("unix:///x", {"server_hostname": "example.org"}, "example.org"),
    ],
)
def test_server_name(text: str, settings: dict[str, Any], name: str | None) -> None:
    assert server_name(StreamContext(**settings), parse_address(text)) == name
    assert server_name(StreamContext(), None) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_names_and_addresses_are_verified(stack: ExitStack, ca: Authority, host: str) -> None:
    made = contexts(ca)
    near, far = pair(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname=host)
    shake(ours, TlsTransport(far, made[1], server_side=True))


def test_ciphers(ca: Authority) -> None:
    """Forward secrecy and authenticated encryption alone, chosen by the client; or what is asked for."""
    own = client_context(StreamContext(ciphers="AES256-SHA256"))
    assert [one["name"] for one in own.get_ciphers() if one["protocol"] == "TLSv1.2"] == ["AES256-SHA256"]
    server = server_context(StreamContext(**ca.server.settings))
    for context in (server, client_context(StreamContext())):
        ciphers = context.get_ciphers()
        assert len(ciphers) >= 9 and all(one["aead"] for one in ciphers)
        assert {one["kea"] for one in ciphers} <= {"kx-any", "kx-ecdhe", "kx-dhe"}
    assert not server.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert server.options & ssl.OP_NO_RENEGOTIATION
    with pytest.raises(ValueError, match="OpenSSL knows no cipher of 'ROT13'"):
        StreamContext(ciphers="ROT13")
    with pytest.raises(TypeError, match="ciphers must be an OpenSSL cipher list"):
        StreamContext(ciphers=["ROT13"])  # type: ignore[typeddict-item]
    with pytest.raises(ValueError, match="exclude each other"):
        StreamContext(tls=server, ciphers="HIGH")
