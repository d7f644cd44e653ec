"""Frames, pickers and operations, and what users derive from them, are the same when copied or pickled."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    BatchFramePicker,
    ConversationOperation,
    DatagramOperation,
    DelayedOperation,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    Frame,
    FrameBatch,
    FramePicker,
    LengthPrefixedFramePicker,
    LineFramePicker,
    MarkerFramePicker,
    NetstringFramePicker,
    NullOperation,
    Operation,
    PartialFrame,
    RawFramePicker,
    ReadOperation,
    ReadWriteOperation,
    RegexFramePicker,
    RespFramePicker,
    ShutdownWriteOperation,
    TlsHandshakeOperation,
    VarintPrefixedFramePicker,
    WriteOperation,
)
from evsockets.frames import EmptyFrame, Inbox, RespFrame
from evsockets.frames.regex_automaton import Automaton
from evsockets.http import Request, RequestPicker, Response, ResponsePicker
from evsockets.http.headers import Headers
from support.greeter import hello

PEER = ("192.0.2.1", 7)
MESSAGE = ((1, 1), Headers([("A", "1"), ("a", "2")]), 2, b"ok", PEER)
ARGUMENTS: dict[type[Any], tuple[Any, ...]] = {
    Frame: (b"a", PEER), EmptyFrame: (PEER,), PartialFrame: (Frame(b"a", PEER),),
    RespFrame: (b"+a\r\n", b"a", PEER), FrameBatch: ([Frame(b"a"), Frame(b"b")], PEER),
    Request: MESSAGE, Response: MESSAGE,
    FramePicker: (), RawFramePicker: (), EmptyFramePicker: (), EndOfStreamFramePicker: (9,),
    FixedLengthFramePicker: (3,), LengthPrefixedFramePicker: (2, "little", True, 99),
    LineFramePicker: (5, True), MarkerFramePicker: (b"<a", b">", False, 99), NetstringFramePicker: (9,),
    VarintPrefixedFramePicker: (9, True), RegexFramePicker: (re.compile(b"a+b"), 9),
    RespFramePicker: (9, 2), BatchFramePicker: (LineFramePicker(5), 7), RequestPicker: (),
    ResponsePicker: ("HEAD",),
    Operation: (), NullOperation: (), ReadOperation: (LineFramePicker(5),), WriteOperation: (b"x",),
    ReadWriteOperation: (False, [ReadOperation(), WriteOperation(b"x")]), DatagramOperation: (),
    DelayedOperation: (NullOperation(), hello, 1), ConversationOperation: (hello, 1),
    ShutdownWriteOperation: (ReadOperation(),), TlsHandshakeOperation: (ReadOperation(),),
}  # fmt: skip
# What parsers set afterwards.
LATER: dict[type[Any], dict[str, Any]] = {
    Request: {"method": "GET", "target": "/"},
    Response: {"status": 200, "reason": "OK", "_is_last": False},
}
WAYS: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy] + [
    lambda one, protocol=protocol: pickle.loads(pickle.dumps(one, protocol)) for protocol in range(2, 6)
]


def derived(kind: type[Any], how: str) -> type[Any]:
    """`kind` itself or a class derived from it, which can be imported."""
    if how == "itself":
        return kind
    body: dict[str, Any] = {"__module__": __name__, "__qualname__": f"{kind.__name__} with {how}"}
    if how != "nothing":

        def begin(self: Any, extra: object, *arguments: object) -> None:
            kind.__init__(self, *arguments)
            self.extra = extra

        body["__init__"] = begin
    if how in ("slots", "both"):
        body["__slots__"] = ("extra",)
    made = type(body["__qualname__"], (kind,), body)
    if how == "both":
        made = type(made.__name__, (made,), {"__module__": __name__, "more": None})
    globals()[made.__qualname__] = made
    return made


def held(one: Any) -> Any:
    """Its class and all that it holds, and the same of what it refers to."""
    if isinstance(one, list | tuple | deque):
        return [held(each) for each in one]
    if isinstance(one, Automaton):
        return one.pattern
    if not isinstance(one, Frame | FramePicker | Operation | Headers):
        return one
    names = [name for name in reversed(dir(one)) if not name.startswith("__")]  # `data` before `_data`, kept
    return type(one), {
        name: held(getattr(one, name, "unset"))
        for name in names
        if not inspect.isroutine(inspect.getattr_static(one, name))
    }


@pytest.mark.parametrize("how", ["itself", "nothing", "slots", "dict", "both"])
@pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)
def test_all_that_it_holds(kind: type[Any], how: str) -> None:
    arguments = ARGUMENTS[kind]
    one = derived(kind, how)(*arguments if how in ("itself", "nothing") else ([b"extra"], *arguments))
    for name, value in LATER.get(kind, {}).items():
        setattr(one, name, value)
    if how == "both":
        one.more = {"more": 1}
    before = held(one)
    for way in WAYS:
        again = way(one)
        assert again is not one and held(again) == before
    if how in ("slots", "dict", "both"):
        assert copy.copy(one).extra is one.extra
        assert copy.deepcopy(one).extra is not one.extra


def test_a_batch_is_sent_as_its_frames() -> None:
    batch = FrameBatch([Frame(bytes(10_000))])
    assert len(pickle.dumps(batch)) < 11_000
    assert pickle.loads(pickle.dumps(batch)).data == batch.data == bytes(10_000)


def test_a_pattern_that_has_met_much() -> None:
    """What it knows of the bytes so far is found again, and not sent: that would be too deep."""
    picker = RegexFramePicker(re.compile(rb"a.{12}b*c"), None)
    data = bytes(random.Random(1).choices(b"abx", k=20_000))
    assert picker.pick(Inbox(data), False) is None
    for again in (pickle.loads(pickle.dumps(picker)), copy.deepcopy(picker)):
        frames = [one.pick(Inbox(data + b"a" + b"x" * 12 + b"c"), False) for one in (picker, again)]
        assert frames[0] == frames[1] and frames[0] is not None
