"""Whatever a client sends to `serve`, reading it costs in proportion to its size, up to the largest head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evsockets.cli.conditions import parse_range, range_applies, refusal
from evsockets.cli.directory import Directory, path_of
from evsockets.cli.request_pickers import MAX_HEAD, RestPicker, TimedHeadPicker, parse_head
from evsockets.frames import Inbox
from evsockets.http import HttpError
from support.linear import grows_linearly

LINE = b"GET / HTTP/1.1\r\nHost: x\r\n"
END = b"\r\n\r\n"


def repeated(before: bytes, piece: bytes, after: bytes = b"") -> Callable[[int], bytes]:
    """Heads of any size: as many of `piece` as there is room for, between `before` and `after`."""
    return lambda size: before + piece * ((size - len(before) - len(after)) // len(piece)) + after


#: What is long in the head, for every rule there is about one.
HEADS: dict[str, Callable[[int], bytes]] = {
    "empty lines before": repeated(b"", b"\r\n", LINE + END),
    "bare CR before": repeated(b"", b"\r", LINE + END),
    "method": repeated(b"", b"A", b" / HTTP/1.1" + END),
    "no method": repeated(b"", b" ", b"/ HTTP/1.1" + END),
    "target": repeated(b"GET /", b"a", b" HTTP/1.1" + END),
    "target without version": repeated(b"GET /", b"a", END),
    "versions": repeated(b"GET /", b" HTTP/1.1", END),
    "blanks in the request line": repeated(b"GET", b" ", b"/ HTTP/1.1" + END),
    "digits of the version": repeated(b"GET / HTTP/1.", b"1", END),
    "slashes": repeated(b"GET ", b"/", b" HTTP/1.1" + END),
    "escapes": repeated(b"GET /", b"%41", b" HTTP/1.1" + END),
    "bad escape at the end": repeated(b"GET /", b"%41", b"%4 HTTP/1.1" + END),
    "percent signs": repeated(b"GET /", b"%", b" HTTP/1.1" + END),
    "query": repeated(b"GET /?", b"?#", b" HTTP/1.1" + END),
    "authority": repeated(b"GET http://", b"a", b" HTTP/1.1" + END),
    "no authority": repeated(b"GET ", b"http://", b" HTTP/1.1" + END),
    "header name": repeated(LINE, b"A", b": x" + END),
    "header name without colon": repeated(LINE, b"A", END),
    "bad sign in a header name": repeated(LINE, b"A", b"(: x" + END),
    "colons": repeated(LINE + b"A", b":", END),
    "folded": repeated(LINE + b"A: b\r\n", b" ", END),
    "lines": repeated(LINE, b"A:\n", b"\n"),
    "other lines": lambda size: LINE + b"".join(b"%04x:\n" % n for n in range((size - 28) // 6)) + b"\n",
    "hosts": repeated(LINE, b"Host:\n", b"\n"),
    "lengths": repeated(LINE, b"Content-Length:1\n", b"\n"),
    "host": repeated(b"GET / HTTP/1.1\r\nHost: ", b"x", b"/" + END),
    "host and ports": repeated(b"GET / HTTP/1.1\r\nHost: x", b":1", END),
    "host in brackets": repeated(b"GET / HTTP/1.1\r\nHost: [", b":", END),
    "length": repeated(LINE + b"Content-Length: ", b"1", END),
    "bad length": repeated(LINE + b"Content-Length: ", b"1", b"x" + END),
    "zeros of the length": repeated(LINE + b"Content-Length: ", b"0", END),
    "codings": repeated(LINE + b"Transfer-Encoding: ", b"chunked,", END),
    "no codings": repeated(LINE + b"Transfer-Encoding: ", b", ", END),
    "connection": repeated(LINE + b"Connection: ", b"a, ", END),
}
for _name in ("A", "Host", "Content-Length", "Transfer-Encoding", "If-Match", "If-Modified-Since", "Range"):
    _start = LINE.replace(b"Host: x\r\n", b"") if _name == "Host" else LINE
    for _blank in (b" ", b" \t"):
        for _tail in (b"\0", b"\r", b"\0 ", b"x", b" x\ry ", b"\x80", b","):
            _title = f"{_name} {_blank!r} {_tail!r}"
            HEADS[_title] = repeated(_start + _name.encode() + b":", _blank, _tail + END)
            HEADS[f"{_title} inside"] = repeated(_start + _name.encode() + b": x", _blank, _tail + b"x" + END)
for _name in ("If-Match", "If-None-Match", "If-Range"):
    for _piece in (b'"', b'"a",', b'"a" ', b'W/"a', b"W/", b"*", b","):
        HEADS[f"{_name} {_piece!r}"] = repeated(LINE + _name.encode() + b": ", _piece, END)
        HEADS[f"{_name} {_piece!r} open"] = repeated(LINE + _name.encode() + b': "', _piece, END)
for _name in ("If-Modified-Since", "If-Unmodified-Since", "If-Range"):
    for _piece in (b"Mon, ", b"Mon, 0", b"1", b"Sun Nov ", b"-", b":"):
        HEADS[f"{_name} {_piece!r}"] = repeated(LINE + _name.encode() + b": ", _piece, END)
_SPANS = [(b"bytes", b" "), (b"bytes=", b"1"), (b"bytes=0-", b"9"), (b"bytes=-", b"0")]
_SPANS += [(b"bytes=", b"0-1,"), (b"bytes=", b"-"), (b"bytes", b"="), (b"", b"bytes")]
for _start, _piece in _SPANS:
    HEADS[f"Range {_start!r} {_piece!r}"] = repeated(LINE + b"Range: " + _start, _piece, END)


def judge(head: bytes) -> None:
    """All that `serve` asks of a head."""
    try:
        request = parse_head(head)
        path_of(request.target)
        assert request.keep_alive or not request.keep_alive
        refusal(request, '"5-a"', 1e9)
        range_applies(request, '"5-a"', 1e9)
        parse_range(request.headers.get("range"), 1000)
    except HttpError:
        pass


def picked(data: bytes, step: int) -> list[bytes]:
    """The heads in `data` that arrives in pieces of `step` bytes."""
    inbox, heads, picker = Inbox(), [], TimedHeadPicker()
    for begin in range(0, len(data), step):
        inbox._append(data[begin : begin + step])
        while inbox and (frame := picker.pick(inbox, False)) is not None:
            heads.append(frame.data)
            picker = TimedHeadPicker()
    return heads


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_judged_in_linear_time(name: str) -> None:
    make = HEADS[name]
    assert MAX_HEAD - 64 <= len(make(MAX_HEAD)) <= MAX_HEAD

    def work(size: int) -> Callable[[], object]:
        head = make(size)
        return lambda: judge(head)

    grows_linearly(work, MAX_HEAD)


@pytest.mark.parametrize("step", [1, 2, 7, 1460, 1 << 20])
@pytest.mark.parametrize(
    "piece",
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"x",
        b"\nx",
        b"\n\r",
        b"x\n",
        b"\n\r\r\n",
        LINE,
        LINE + END,
        b"GET / HTTP/1.0\n\n",
    ],
)
def test_heads_are_found_in_linear_time(piece: bytes, step: int) -> None:
    """Sixteen times the largest head: what one turn may find in the inbox, and more."""

    def work(size: int) -> Callable[[], object]:
        data = b"x" + piece * (size // len(piece))
        return lambda: picked(data, step)

    grows_linearly(work, 16 * MAX_HEAD if step > 1 else 4 * MAX_HEAD)


@pytest.mark.parametrize("step", [1, 1000])
def test_what_is_thrown_away_costs_linear_time(step: int) -> None:
    def work(size: int) -> Callable[[], object]:
        def throw() -> None:
            inbox, picker = Inbox(), RestPicker(1 << 30, 1e9)
            for _ in range(0, size, step):
                inbox._append(bytes(step))
                assert picker.pick(inbox, False) is None
                assert not inbox

        return throw

    grows_linearly(work, 64 * 1024)


@pytest.mark.parametrize(
    "path", [b"/a", b"/", b"/.", b"/self", b"/self/page", b"/page", b"/..", b"/sub/self"]
)
def test_a_path_is_walked_in_linear_time(tmp_path: Path, path: bytes) -> None:
    """Up to the largest head: names that are there, and not, and links that lead round in a circle."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "page").write_text("")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "sub" / "self").symlink_to("..")
    directory = Directory(str(tmp_path))

    def work(size: int) -> Callable[[], object]:
        long = path * (size // len(path))

        def walk() -> None:
            try:
                directory.open(long + b"/none")
            except HttpError:
                pass

        return walk

    grows_linearly(work, MAX_HEAD)
