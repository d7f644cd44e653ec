"""The DNS answerer of the examples, asked by dig and by hand, over UDP and TCP."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Serving, example, run
from support.servers import need

#: How its program does on one engine tells how it does on any.
pytestmark = pytest.mark.once

ZONE = (
    """\
example.test SOA ns.example.test
# a comment
example.test NS ns.example.test
ns.example.test A 192.0.2.53
www.example.test A 192.0.2.1
www.example.test AAAA 2001:db8::1
alias.example.test CNAME www.example.test
away.example.test CNAME www.elsewhere.test
lost.example.test CNAME nobody.example.test
circle.example.test CNAME circle.example.test
text.example.test TXT some words
long.example.test TXT %s
deep.down.example.test A 192.0.2.2
"""
    % ("x" * 1500)
    + "".join(f"many.example.test A 192.0.2.{i}\n" for i in range(100))
)
#: Time enough for the slowest machine; a datagram lost on loopback is asked for again.
PATIENT = ("+time=10", "+tries=3")


@pytest.fixture
def answerer(engine: str, tmp_path: Path) -> Iterator[Serving]:
    with answering(engine, tmp_path, "127.0.0.1:0") as running:
        yield running


@contextlib.contextmanager
def answering(engine: str, folder: Path, address: str) -> Iterator[Serving]:
    path = folder / "zone.txt"
    path.write_text(ZONE)
    with example("dns_answerer", address, str(path), EVSOCKETS_ENGINE=engine) as running:
        yield running
        assert running.end() == (0, "")


def dig(answerer: Serving, *arguments: str, server: str = "127.0.0.1") -> str:
    command = [need("dig"), f"@{server}", "-p", str(answerer.port), *PATIENT, *arguments]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def short(answerer: Serving, *arguments: str) -> list[str]:
    return dig(answerer, "+short", *arguments).splitlines()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_what_is_there(answerer: Serving, transport: str) -> None:
    for question, expected in {
        ("www.example.test",): ["192.0.2.1"],
        ("WwW.Example.TEST",): ["192.0.2.1"],
        ("www.example.test", "AAAA"): ["2001:db8::1"],
        ("example.test", "NS"): ["ns.example.test."],
        ("example.test", "SOA"): ["ns.example.test. hostmaster.ns.example.test. 1 3600 600 86400 300"],
        ("text.example.test", "TXT"): ['"some words"'],
        ("alias.example.test",): ["www.example.test.", "192.0.2.1"],
        ("alias.example.test", "CNAME"): ["www.example.test."],
        ("away.example.test",): ["www.elsewhere.test."],
        ("deep.down.example.test",): ["192.0.2.2"],
    }.items():
        assert short(answerer, transport, *question) == expected, question


def test_on_all_addresses_each_answers_for_itself(engine: str, tmp_path: Path) -> None:
    """dig takes no answer of another address than it asked (RFC 2181, 4.1)."""
    with answering(engine, tmp_path, "0.0.0.0:0") as answerer:
        for server in ("127.0.0.1", "127.0.0.2", "127.9.9.9"):
            assert "192.0.2.1" in dig(answerer, "+notcp", "+short", "www.example.test", server=server)


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_what_is_not(answerer: Serving, transport: str) -> None:
    for question, status, more in [
        (("nobody.example.test",), "NXDOMAIN", "AUTHORITY: 1"),
        (("lost.example.test",), "NXDOMAIN", "ANSWER: 1"),
        (("www.example.test", "MX"), "NOERROR", "ANSWER: 0, AUTHORITY: 1"),
        (("down.example.test",), "NOERROR", "ANSWER: 0, AUTHORITY: 1"),
        (("elsewhere.test",), "REFUSED", "ANSWER: 0"),
        (("notexample.test",), "REFUSED", "ANSWER: 0"),
        (("www.example.test", "CH"), "REFUSED", "ANSWER: 0"),
        (("+opcode=STATUS", "www.example.test"), "NOTIMP", "ANSWER: 0"),
        (("+edns=1", "+noednsneg", "www.example.test"), "BADVERS", "ANSWER: 0"),
        (("circle.example.test",), "NOERROR", "CNAME"),
    ]:
        told = dig(answerer, transport, *question)
        assert f"status: {status}," in told, (question, told)
        assert more in told, (question, told)
        assert status == "REFUSED" or "flags: qr aa" in told or status in ("NOTIMP", "BADVERS")


def test_what_does_not_fit_comes_by_tcp(answerer: Serving) -> None:
    told = dig(answerer, "+noedns", "many.example.test")
    assert "Truncated, retrying in TCP mode" in told and "ANSWER: 100" in told
    assert "ANSWER: 0" in dig(answerer, "+noedns", "+ignore", "many.example.test")
    assert "Truncated" in dig(answerer, "long.example.test", "TXT")
    assert len(short(answerer, "long.example.test", "TXT")[0].replace('" "', "")) == 1502


def test_many_questions_on_one_connection(answerer: Serving) -> None:
    names = ["www.example.test", "ns.example.test", "deep.down.example.test"]
    assert short(answerer, "+tcp", "+keepopen", *names) == ["192.0.2.1", "192.0.2.53", "192.0.2.2"]


def question(number: int) -> bytes:
    return struct.pack(">6H", number, 0, 1, 0, 0, 0) + b"\3www\7example\4test\0" + struct.pack(">2H", 1, 1)


def test_questions_sent_at_once_are_answered_in_order(answerer: Serving) -> None:
    framed = b"".join(struct.pack(">H", len(question(n))) + question(n) for n in range(500))
    place = ("127.0.0.1", answerer.port)
    with socket.create_connection(place, timeout=20) as sock, sock.makefile("rb") as file:
        sock.sendall(framed)
        for number in range(500):
            (size,) = struct.unpack(">H", file.read(2))
            assert file.read(size).startswith(struct.pack(">H", number))


def nearly_a_question(dice: random.Random) -> bytes:
    data = bytearray(question(0) if dice.random() < 0.7 else dice.randbytes(dice.randrange(1, 80)))
    for _ in range(dice.randrange(1, 5)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def test_garbage_does_not_end_it(answerer: Serving) -> None:
    """Stumps and answers get no answer, what is nearly a question gets an error."""
    dice = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", answerer.port))
        for _ in range(100):
            for _ in range(30):
                sock.send(nearly_a_question(dice))
            sock.send(question(4711)[:20])
            sock.send(question(4712))
            answers = iter(lambda: sock.recv(65536), b"")
            assert any(one.startswith(b"\x12\x68") and one.endswith(b"\xc0\0\2\1") for one in answers)
    with socket.create_connection(("127.0.0.1", answerer.port), timeout=20) as sock:
        sock.sendall(b"\0\3abc\xff\xffabc")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert short(answerer, "www.example.test") == ["192.0.2.1"]
