"""What a marker picker makes of its input, row by row."""

from __future__ import annotations

import pytest

from evsockets.frames import Inbox, MarkerFramePicker

ADDRESS = ("192.0.2.7", 4711)

# start, end, case sensitive, chunks, the frame (None: not finished), what is left
ROWS = {
    "both markers": (b"<", b">", True, [b"<body>"], b"<body>", b""),
    "end marker before the start": (b"<", b">", True, [b"><body>"], b"<body>", b""),
    "no marker, one chunk": (b"<", b">", True, [b"no marker at all"], None, b""),
    "no marker, many chunks": (b"<b>", b"</b>", True, [b"no ", b"marker", b" at", b" all"], None, b""),
    "no end marker, no start": (None, b"\r\n", True, [b"no marker"], None, b"no marker"),
    "no start marker asked for": (None, b"ker", True, [b"no marker123"], b"no marker", b"123"),
    "start seen, no end": (b"<", b">", True, [b"head<body"], None, b"<body"),
    "text around": (b"<", b">", True, [b"head<body>tail"], b"<body>", b"tail"),
    "first end counts": (None, b">", True, [b"a>b>c"], b"a>", b"b>c"),
    "identical markers": (b"x", b"x", True, [b"xbodyx"], b"xbodyx", b""),
    "identical markers, adjacent": (b"x", b"x", True, [b"xxbodyx"], b"xx", b"bodyx"),
    "identical markers, one only": (b"x", b"x", True, [b"xbody"], None, b"xbody"),
    "long identical markers": (b"<body>", b"<body>", True, [b"<body><body>rest"], b"<body><body>", b"rest"),
    "end split": (b"<body>", b"</body>", True, [b"<body>text</bo", b"dy>"], b"<body>text</body>", b""),
    "start split": (b"<body>", b"</body>", True, [b"a<bo", b"dy>text</body>"], b"<body>text</body>", b""),
    "identical markers split": (
        b"marker",
        b"marker",
        True,
        [b"mar", b"kertextmar", b"kerrest"],
        b"markertextmarker",
        b"rest",
    ),
    "split without start": (None, b"marker", True, [b"text mar", b"ker"], b"text marker", b""),
    "three chunks, no end": (b"<", b">", True, [b"a<b", b"od", b"y"], None, b"<body"),
    "mixed case": (b"<BODY>", b"</Body>", False, [b"..<boDy>X</bOdY>z"], b"<boDy>X</bOdY>", b"z"),
    "mixed case, no start": (None, b"</HTML>", False, [b"<p></hT", b"mL>\n"], b"<p></hTmL>", b"\n"),
    "mixed case, split": (b"<A>", b"</a>", False, [b"x<", b"a", b">Q</", b"A>r"], b"<a>Q</A>", b"r"),
    "case matters by default": (None, b"END", True, [b"the end"], None, b"the end"),
    "markers that overlap are two": (b"aba", b"aba", True, [b"ababa"], None, b"ababa"),
    "start begins anew": (b"aab", b"c", True, [b"aa", b"ab", b"-c"], b"aab-c", b""),
    "an unfinished start marker stays": (b"<body>", b">", True, [b"text<bo"], None, b"<bo"),
    "an unfinished start marker after a like one": (b"aab", b">", True, [b"xaaa"], None, b"aa"),
    "zero bytes": (b"\0\0", b"\0\1", True, [b"\0a\0", b"\0b\0", b"\1c"], b"\0\0b\0\1", b"c"),
    "an empty start marker is none": (b"", b";", True, [b"a;b"], b"a;", b"b"),
    "the character 0": (None, b"0", True, [b"0", b"0"], b"0", b"0"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("cut", ["as given", "joined", "byte by byte"])
def test_row(row, cut):
    start, end, case_sensitive, chunks, frame, left = row
    joined = b"".join(chunks)
    if cut == "joined":
        chunks = [joined]
    elif cut == "byte by byte":
        chunks = [joined[i : i + 1] for i in range(len(joined))]
    picker = MarkerFramePicker(start, end, case_sensitive=case_sensitive)
    inbox = Inbox(remote_address=ADDRESS)
    found = None
    for chunk in chunks:
        inbox._append(chunk)
        if found is None:
            found = picker.pick(inbox, False)
    assert (found and found.data) == frame
    if found is not None:
        assert found.remote_address == ADDRESS
    assert inbox.peek(1000) == left
    if frame is None:
        assert picker.pick(inbox, True) is None
