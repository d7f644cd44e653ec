"""What `fetch` is told to ask: words that stand for many addresses, lines of files, URLs, redirects."""

from __future__ import annotations

import gzip
import os
import threading
import zlib
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets import FrameError
from evsockets.address import parse_address
from evsockets.cli import web
from evsockets.cli.asking import Answer, Ask
from evsockets.cli.lines import LONGEST, Lines
from evsockets.cli.targets import Targets
from evsockets.cli.words import parse_word


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("tcp://host:80", ["tcp://host:80"]),
        ("udp://host:53,5353", ["udp://host:53", "udp://host:5353"]),
        ("tls://a:1,8-10", ["tls://a:1", "tls://a:8", "tls://a:9", "tls://a:10"]),
        ("tcp://10.0.0.3/31:80", ["tcp://10.0.0.2:80", "tcp://10.0.0.3:80"]),
        ("tcp://10.0.0.0/31:8-9", [f"tcp://10.0.0.{host}:{port}" for host in (0, 1) for port in (8, 9)]),
        ("tcp://[fd00::/127]:80", ["tcp://[fd00::]:80", "tcp://[fd00::1]:80"]),
        ("tcp://[fd00::]/127:80", ["tcp://[fd00::]:80", "tcp://[fd00::1]:80"]),
        ("tcp://[::1]:80,81", ["tcp://[::1]:80", "tcp://[::1]:81"]),
        ("tcp://[fe80::1%lo]:80", ["tcp://[fe80::1%lo]:80"]),
        ("unix:///a,b/c:1-2", ["unix:///a,b/c:1-2"]),
        ("udg://@name:1,2", ["udg://@name:1,2"]),
        ("http://host", ["tcp://host:80"]),
        ("HTTPS://host/a", ["tls://host:443"]),
        ("https://[::1]/", ["tls://[::1]:443"]),
        ("https://host:/", ["tls://host:443"]),
        ("http://host:8000-8001/x", ["tcp://host:8000", "tcp://host:8001"]),
    ],
)
def test_a_word_stands_for_its_addresses(text: str, addresses: list[str]) -> None:
    word = parse_word(text, 65536)
    assert list(word.addresses()) == addresses
    assert word.count == len(addresses)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("http://host", None),
        ("http://host/", "/"),
        ("http://host?q=1", "/?q=1"),
        ("https://host:1/a/b?c#d", "/a/b?c"),
        ("http://host#only", None),
        ("tcp://host:1", None),
    ],
)
def test_the_path_of_a_url(text: str, path: str | None) -> None:
    assert parse_word(text, 1).path == path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host:80", "https://host/path"),
        ("tcp://host:80-", "no range"),
        ("tcp://host:-80", "no range"),
        ("tcp://host:80,", "no range"),
        ("tcp://host:90-80", "no range"),
        ("tcp://host:0-80", "from 1 to 65535"),
        ("tcp://host:80,65536", "from 1 to 65535"),
        ("tcp://host:80,1-99999999999999", "no range"),
        ("tcp://host/24:80", "no block"),
        ("tcp://10.0.0.0/33:80", "no block"),
        ("tcp://10.0.0.0/0:80", "--max-targets 4294967296"),
        ("tcp://[::/0]:1-65535", "--max-targets"),
        ("tcp://10.0.0.1-9:80", "10.0.0.0/28"),
        ("tcp://10.0.0.1:80/a", "--http /a"),
        ("tcp://a b:80,81", "character"),
        ("ftp://host/", "known are http, https, tcp"),
        ("tcp:/host:80", "no '://' behind 'tcp'"),
        ("https:host", "no '://' behind 'https'"),
        ("tcp://a:1,tcp://b:2", "more than one address"),
        ("http://127.0.0.0/30:21320/", "a URL names one host"),
        ("http://[::/64]:80/", "a URL names one host"),
        ("http://user@host/", "--header"),
        ("http://host/a b", "percent-encoded"),
        ("http://host/é", "percent-encoded"),
        ("http:///a", "names no host: write http://host/path"),
        ("http://host:x/", "port .* not 'x'"),
        ("http://::1/", "brackets"),
    ],
)
def test_a_wrong_word_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_word(text, 65536)


@given(st.text(max_size=40) | st.from_regex(r"(tcp|http|udp)://[0-9a-z.:/\[\],-]{0,30}", fullmatch=True))
def test_any_word_is_addresses_or_a_value_error(text: str) -> None:
    try:
        word = parse_word(text, 100)
    except ValueError:
        return
    addresses = list(word.addresses())
    assert len(addresses) == word.count <= 100
    for address in addresses:
        parse_address(address)


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"x"))), st.booleans())
def test_lines_of_a_pipe_are_those_written(lines: list[bytes], ends: bool) -> None:
    reading, writing = os.pipe()
    try:
        data = b"\n".join(lines) + b"\n" * ends
        os.write(writing, data)
        os.close(writing)
        found = Lines(f"/dev/fd/{reading}")
        expected = data.split(b"\n")
        for number, line in enumerate(expected[:-1] if not expected[-1] else expected, 1):
            text = line.decode("utf-8", "surrogateescape")
            assert found.take(wait=True) == (number, text.removeprefix("\ufeff") if number == 1 else text)
        assert found.take(wait=True) is None
        assert found.exhausted
    finally:
        os.close(reading)


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    place = tmp_path / "long"
    place.write_bytes(b"x" * 300_000 + b"\ntcp://a:1\n")
    lines = Lines(str(place))
    line = lines.take(wait=True)
    assert line is not None and len(line[1]) == LONGEST
    assert len(lines._rest) <= LONGEST + 1
    assert lines.take(wait=True) == (2, "tcp://a:1")
    lines.close()


def test_targets_are_read_no_further_than_they_are_pulled(tmp_path: Path) -> None:
    place = tmp_path / "many"
    place.write_bytes(b"tcp://a:1\n" * 50_000)
    targets = Targets(["tcp://[fd00::/64]:1"], [str(place)], None, web=True, most=1 << 80)
    assert [ask.address for ask in islice(targets.pull(), 2)] == ["tcp://[fd00::]:1", "tcp://[fd00::1]:1"]
    targets.close()
    targets = Targets([], [str(place)], None, web=True, most=1)
    assert len(list(islice(targets.pull(), 1000))) == 1000
    (file,) = targets._files
    assert os.lseek(file._descriptor, 0, os.SEEK_CUR) <= 1 << 16
    total = targets.estimate()
    assert total is not None and round(total) == 50_000
    targets.close()


def test_bytes_that_are_no_text_are_shown_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"tcp://h\xff:1\n")
    targets = Targets([], [str(path)], None, web=True, most=1)
    (wrong,) = targets.pull()
    targets.close()
    assert wrong.label == r"tcp://h\xff:1"
    assert wrong.problem is not None
    assert r"h\xff:1" in wrong.problem and "udcff" not in wrong.problem


def test_the_urls_of_several_ports() -> None:
    targets = Targets(["https://host:1-2/a?b"], [], None, web=True, most=2)
    assert [(ask.address, ask.label, ask.path) for ask in targets.pull()] == [
        ("tls://host:1", "https://host:1/a?b", "/a?b"), ("tls://host:2", "https://host:2/a?b", "/a?b"),
    ]  # fmt: skip


def test_a_silent_pipe_ends_a_round_and_not_the_targets() -> None:
    reading, writing = os.pipe()
    targets = Targets([], [f"/dev/fd/{reading}"], None, web=True, most=1)
    os.write(writing, b"# one\ntcp://a:1\n\n")
    assert not targets.ended
    assert [ask.address for ask in targets.pull()] == ["tcp://a:1"]
    assert targets.estimate() is None
    later = threading.Timer(0.05, os.write, (writing, b"tcp://b:1 # two"))
    later.start()
    threading.Timer(0.1, os.close, (writing,)).start()
    assert not targets.ended
    assert [(ask.number, ask.address) for ask in targets.pull()] == [(1, "tcp://b:1")]
    assert targets.ended
    assert targets.estimate() == 2
    os.close(reading)


def test_bodies_are_decoded() -> None:
    page = b"page " * 1000
    for coding, body in (
        ("gzip", gzip.compress(page)),
        ("GZIP ", gzip.compress(page[:100]) + gzip.compress(page[100:])),
        ("deflate", zlib.compress(page)),
        ("", page),
        ("br", page),
    ):
        assert web.decoded(body, coding) == page
    for body, says in (
        (page, "no gzip"),
        (gzip.compress(page)[:-1], "too early"),
        (gzip.compress(bytes(web.MOST_BYTES + 1)), "more than"),
    ):
        with pytest.raises(FrameError, match=says):
            web.decoded(body, "gzip")


@pytest.mark.parametrize(
    ("place", "address", "path", "bare"),
    [
        ("/b?c", "tcp://host:80", "/b?c", False),
        ("b", "tcp://host:80", "/a/b", False),
        ("https://host/x", "tls://host:443", "/x", True),
        ("//other:81", "tcp://other:81", "/", True),
    ],
)
def test_where_a_redirect_leads(place: str, address: str, path: str, bare: bool) -> None:
    ask = Ask(3, "tcp://host:80", "label", "/a/")
    following = web.followed(ask, Answer(status=301, headers=[("LOCATION", place)]))
    assert following is not None
    assert (following.number, following.label, following.redirects) == (3, "label", 1)
    assert (following.address, following.path, following.bare) == (address, path, bare)


def test_redirects_that_are_not_followed() -> None:
    ask = Ask(0, "tcp://host:80", "", "/")
    assert web.followed(ask, Answer(status=200, headers=[("Location", "/b")])) is None
    assert web.followed(ask, Answer(status=302)) is None
    for place, redirects, says in (
        ("ftp://host/", 0, "unknown scheme"),
        ("tcp://host:1", 0, "only http:// and https://"),
        ("http://[::1/", 0, r"redirected to .http://\[::1/.: "),
        ("http://host:1-2/", 0, "stands for 2"),
        ("/", web.MOST_REDIRECTS, "more than 10"),
    ):
        ask = Ask(0, "tcp://host:80", "", "/", None, redirects)
        with pytest.raises(ValueError, match=says):
            web.followed(ask, Answer(status=302, headers=[("Location", place)]))
