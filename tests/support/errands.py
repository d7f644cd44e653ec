"""Conversations with a `Greeter` that other processes are sent: all of them can be imported."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from evsockets import Frame, LineFramePicker
from evsockets.frames import Inbox
from support.greeter import hello


class Fragile(Exception):
    """It can be pickled, and cannot be loaded."""

    def __reduce__(self) -> Any:
        return _broken, ()


def _broken() -> None:
    raise LookupError("fragile")


class Sturdy(Exception):
    """It can be both."""


class Tagged(Frame):
    """A user's frame."""

    __slots__ = ("tag",)


class Tagging(LineFramePicker):
    """A user's picker: its frames bear its tag."""

    __slots__ = ("tag",)

    def __init__(self, tag: str) -> None:
        super().__init__(99)
        self.tag = tag

    def pick(self, inbox: Inbox, ended: bool) -> Tagged | None:
        frame = super().pick(inbox, ended)
        if frame is None:
            return None
        tagged = Tagged(frame.data, frame.remote_address)
        tagged.tag = self.tag
        return tagged


async def tagged(talk: Any, picker: Tagging) -> Frame:
    """The greeting, by that picker."""
    frame: Frame = await talk.read(picker)
    return frame


class Opaque:
    """It cannot be pickled."""

    def __reduce__(self) -> str:
        raise ValueError("opaque")


class Local:
    """It can be loaded in the process that has made it, and in no other."""

    def __init__(self, home: str) -> None:
        self.home = home

    def __reduce__(self) -> Any:
        return at_home, (self.home,)


def at_home(home: str) -> Local:
    """A `Local` in its own process; `home` is that, or a variable of the environment that is set there."""
    if home not in (str(os.getpid()), *os.environ):
        raise LookupError(f"not at home in {home}")
    return Local(home)


class LocalError(Exception):
    """The same as an error."""

    def __reduce__(self) -> Any:
        return _local_error, self.args


def _local_error(home: str) -> LocalError:
    at_home(home)
    return LocalError(home)


async def locals_of(talk: Any, how: str, home: str = "") -> Any:
    """A result that loads only where the conversation ran; an error if `how` is that."""
    await talk.read()
    home = home or str(os.getpid())
    if how == "error":
        raise LocalError(home)
    return Local(home) if how == "result" else how


async def pid(talk: Any) -> int:
    """The process that talks."""
    await talk.read()
    return os.getpid()


def handlers() -> tuple[str, ...]:
    """Who hears the signals that end a process, and who is woken by them."""
    found = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    return tuple(map(repr, found))


async def signals(talk: Any) -> tuple[bool, tuple[str, ...]]:
    """Whether it runs in the main thread, and `handlers()`."""
    return threading.current_thread() is threading.main_thread(), handlers()


async def slowly(talk: Any) -> bytes:
    """The greeting, after a moment."""
    await talk.sleep(0.02)
    return await hello(talk)


async def fails(talk: Any, how: str) -> Any:
    """An end that is not usual."""
    await talk.read()
    if how == "exit":
        sys.exit(3)
    elif how == "bug":
        raise Sturdy("broken") from ZeroDivisionError("why")
    elif how == "opaque cause":
        raise Sturdy("broken") from Sturdy(Opaque())
    elif how == "fragile":
        raise Fragile(1, 2)
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how == "opaque":
        return Opaque()
    elif how == "stop":
        talk.executor.stop_request()
    return how


async def pid_or_death(talk: Any, death: bool) -> int:
    """The process that talks, or its end."""
    await talk.read()
    if death:
        os._exit(7)
    return os.getpid()


async def lingers(talk: Any, folder: str) -> None:
    """It never returns by itself; a file `begun-` and later one `ended-` tell of it."""
    await hello(talk)
    name = f"{os.getpid()}-{id(talk)}"
    Path(folder, f"begun-{name}").touch()
    try:
        await talk.sleep(600)
    finally:
        Path(folder, f"ended-{name}").touch()


async def blocks(talk: Any, folder: str) -> None:
    """It holds up its thread."""
    Path(folder, f"begun-{os.getpid()}").touch()
    time.sleep(600)


async def works(talk: Any, seconds: float) -> int:
    """It counts for so long, in Python."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(100))
    return os.getpid()


def trusts(path: str) -> None:
    """The authority of `makes_tls` in this process."""
    os.environ["EVSOCKETS_TEST_CA"] = path


MADE: list[str] = []


def makes_tls() -> ssl.SSLContext:
    """What trusts the authority that the environment names."""
    MADE.append("once")
    return ssl.create_default_context(cafile=os.environ["EVSOCKETS_TEST_CA"])


async def how_often(talk: Any) -> tuple[int, int]:
    """This process, and how often `makes_tls` has been called in it."""
    await talk.read()
    return os.getpid(), len(MADE)


def bug(event: Any) -> None:
    """A handler that raises."""
    raise ZeroDivisionError("of a handler")


def local_bug(event: Any) -> None:
    """A handler that raises what loads only where it ran."""
    raise LocalError("EVSOCKETS_TEST_HOME")
