"""Proxies in settings, and the PROXY protocol's headers: what is taken, and what is none."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import StreamContext
from evsockets.frames import Inbox
from evsockets.opening.proxy_protocol import LONGEST, take_header
from evsockets.proxies import Proxy, is_trusted, parse_proxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(command: int, family: int, data: bytes, size: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(data) if size is None else size).to_bytes(2) + data


IPV4 = bytes([192, 0, 2, 1, 127, 0, 0, 1]) + (4000).to_bytes(2) + (80).to_bytes(2)
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + (4000).to_bytes(2) + (80).to_bytes(2)
UNIX = b"/run/peer".ljust(108, b"\0") + b"\0name".ljust(108, b"\0")

HEADERS: list[tuple[bytes, Any]] = [
    (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 80\r\n", ("192.0.2.1", 4000)),
    (b"PROXY TCP6 2001:DB8::7 ::1 4000 80\r\n", ("2001:db8::7", 4000, 0, 0)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    (binary(0x21, 0x11, IPV4), ("192.0.2.1", 4000)),
    (binary(0x21, 0x12, IPV4), ("192.0.2.1", 4000)),
    (binary(0x21, 0x11, IPV4 + b"\x04\0\x01x"), ("192.0.2.1", 4000)),
    (binary(0x21, 0x21, IPV6), ("2001:db8::7", 4000, 0, 0)),
    (binary(0x21, 0x31, UNIX), "/run/peer"),
    (binary(0x21, 0x31, UNIX[108:] + UNIX[:108]), "@name"),
    (binary(0x21, 0x31, bytes(216)), None),
    (binary(0x20, 0x11, IPV4), None),
    (binary(0x20, 0x00, b""), None),
    (binary(0x21, 0x00, b"anything"), None),
]


@pytest.mark.parametrize(("header", "remote"), HEADERS)
def test_headers(header: bytes, remote: Any) -> None:
    """However they are cut, and what follows stays."""
    whole = Inbox(header + b"PROXY rest")
    assert take_header(whole) == (remote,)
    assert whole.peek(100) == b"PROXY rest"
    slow = Inbox()
    for number, byte in enumerate(header, 1):
        slow._append(bytes([byte]))
        assert take_header(slow) == ((remote,) if number == len(header) else None)
    assert len(slow) == 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"G", "begins with b'G'"),
        (b"PROXX", "begins with"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 80 1\r\n", "malformed"),
        (b"PROXY TCP4  192.0.2.1 127.0.0.1 4000 80\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 04000 80\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 4000 65536\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 -1 80\r\n", "malformed"),
        (b"PROXY TCP4 2001:db8::7 ::1 4000 80\r\n", "malformed"),
        (b"PROXY TCP4 192.0.2.256 127.0.0.1 4000 80\r\n", "malformed"),
        (b"PROXY UDP4 192.0.2.1 127.0.0.1 4000 80\r\n", "malformed"),
        (b"PROXY \xff\r\n", "malformed"),
        (b"PROXY \r\n", "malformed"),
        (b"PROXY " + b"x" * 101, "more than 107 bytes"),
        (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "more than 107 bytes"),
        (b"\r\n\r\n\0\r\nQUIT\r", "begins with"),
        (b"\r\nGET", "begins with"),
        (binary(0x31, 0x11, IPV4), "malformed"),
        (binary(0x22, 0x11, IPV4), "malformed"),
        (binary(0x21, 0x41, IPV4), "malformed"),
        (binary(0x21, 0x13, IPV4), "malformed"),
        (binary(0x21, 0x11, IPV4[:-1]), "too few"),
        (binary(0x21, 0x21, IPV6[:-1]), "too few"),
        (binary(0x21, 0x31, UNIX[:-1]), "too few"),
        (binary(0x21, 0x11, b"", LONGEST + 1), "of 16384 at most"),
    ],
)
def test_what_is_no_header(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        take_header(Inbox(data))


def test_proxies_named() -> None:
    assert parse_proxy("socks5://h:1080") == Proxy("socks5", "h", 1080, None, "socks5://h:1080")
    assert parse_proxy("SOCKS5H://u:p%40%20@[::1]:1/").login == (b"u", b"p@ ")
    assert parse_proxy("http://u:a:b@h:1") == Proxy("http", "h", 1, (b"u", b"a:b"), "http://h:1")
    assert parse_proxy("http://@h:1").login == (b"", b"")


@pytest.mark.parametrize(
    ("value", "error", "why"),
    [
        (5, TypeError, "proxy must be a URL"),
        ("h:1", ValueError, "proxy has no scheme: write socks5://host:port or http://host:port"),
        ("https://h:1", ValueError, "proxy has 'https'"),
        ("socks5://h", ValueError, "proxy: the port is missing"),
        ("socks5://h:0", ValueError, "proxy: the port is missing or 0"),
        ("socks5://h:x", ValueError, "proxy: the port must be a decimal number"),
        ("socks5://:1", ValueError, "proxy: the host is missing"),
        ("socks5://secret@h:1", ValueError, "user and password must have 1 to 255 bytes"),
        ("socks5://u:%s@h:1" % ("p" * 256), ValueError, "1 to 255 bytes"),
        ("http://a%3Ab:secret@h:1", ValueError, "cannot have a ':'"),
    ],
)
def test_what_is_no_proxy(value: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why) as raised:
        StreamContext(proxy=value)
    assert "secret" not in str(raised.value)


def test_a_login_is_not_shown() -> None:
    assert "secret" not in repr(StreamContext(proxy="http://me:secret@h:1"))


def test_trust() -> None:
    trusted = StreamContext(proxy_protocol=["10.0.0.0/8", "::1", "fe80::/10"]).proxy_protocol
    for remote, answer in (
        (("10.1.2.3", 1), True),
        (("11.1.2.3", 1), False),
        (("::ffff:10.1.2.3", 1, 0, 0), True),
        (("::1", 1, 0, 0), True),
        (("fe80::1%eth0", 1, 0, 2), True),
        (("2001:db8::1", 1, 0, 0), False),
        ("/run/peer", False),
        (None, False),
    ):
        assert is_trusted(trusted, remote) is answer, remote
        assert is_trusted(True, remote)
    for value, error, why in (
        ("10.0.0.0/8", TypeError, "a sequence of networks"),
        (1, TypeError, "a sequence of networks"),
        ([b"10.0.0.0/8"], TypeError, "a network is a str"),
        ([], ValueError, "names no network"),
        (["10.0.0.1/8"], ValueError, "10.0.0.1/8 has host bits set; write such as '10.0.0.0/8'"),
    ):
        with pytest.raises(error, match=why):
            StreamContext(proxy_protocol=value)  # type: ignore[arg-type]
