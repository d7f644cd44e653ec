"""The settings of sockets: their names, the checks of their values, and the objects that sockets share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any

from .configuration import Configuration, StreamContext, stream_context_of
from .event_types import CALLBACKS
from .validation import check_duration, check_speed, check_timeout, closest, nearest

TIMEOUTS = ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout")
SPEEDS = ("min_receive_speed", "min_send_speed")
DURATIONS = ("min_receive_speed_duration", "min_send_speed_duration")


def _stream_context(_name: str, value: Any) -> StreamContext:
    return stream_context_of(value)


LOOKS = 4
"""How many times acknowledgements are looked at within one `io_timeout`, or one send speed's duration."""

# How each setting is checked: called with its name and the value, it returns what is kept.
CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(TIMEOUTS, check_timeout),
    **dict.fromkeys(SPEEDS, check_speed),
    **dict.fromkeys(DURATIONS, check_duration),
    "stream_context": _stream_context,
}
WRITABLE = ("address", "user_context", "keep_alive", *CHECKS)
# Names that others use for arguments of `fan_out` and `serve`.
_SYNONYMS = {"concurrency": "limit", "processes": "workers", "retry": "retries", "workers": "processes"}
_UNCHANGING = frozenset({bool, int, float, NoneType, StreamContext})


class Settings:
    """All settings but address and context. Immutable: sockets with the default values share one."""

    __slots__ = (
        "connection_timeout", "idle_timeout", "io_timeout", "look_interval", "min_receive_speed",
        "min_receive_speed_duration", "min_send_speed", "min_send_speed_duration", "minima",
        "request_timeout", "stream_context",
    )  # fmt: skip

    connection_timeout: float | None
    io_timeout: float | None
    idle_timeout: float | None
    request_timeout: float | None
    min_receive_speed: float | None
    min_receive_speed_duration: float | None
    min_send_speed: float | None
    min_send_speed_duration: float | None
    stream_context: StreamContext
    look_interval: float | None
    """Seconds between two checks of the bytes that the peer's kernel has acknowledged."""
    minima: bool
    """Whether a speed has a minimum."""

    @classmethod
    def of(cls, configuration: Configuration, *, server: bool) -> Settings:
        """The settings of `configuration`; the time-outs of a server are always None."""
        settings = cls()
        for name in TIMEOUTS:
            setattr(settings, name, None if server else getattr(configuration, name))
        for name in (*SPEEDS, *DURATIONS):
            setattr(settings, name, getattr(configuration, name))
        settings.stream_context = stream_context_of(configuration.stream_context)
        settings._work_out()
        return settings

    def changed(self, values: dict[str, Any]) -> Settings:
        """A copy with these checked values."""
        settings = Settings()
        for name in (*TIMEOUTS, *SPEEDS, *DURATIONS, "stream_context"):
            setattr(settings, name, values[name] if name in values else getattr(self, name))
        settings._work_out()
        return settings

    def _work_out(self) -> None:
        self.look_interval = None if self.io_timeout is None else self.io_timeout / LOOKS
        self.minima = bool(self.min_receive_speed or self.min_send_speed)


class Changed:
    """Settings made of others (`base`) by values that were given, checked."""

    __slots__ = ("_base", "_checked", "_given", "settings")

    _base: Settings
    _checked: dict[str, Any]
    _given: dict[str, Any] | None
    settings: Settings

    def is_of(self, base: Settings, given: dict[str, Any]) -> bool:
        """Whether it is what comes of `base` and these very objects."""
        known = self._given
        if self._base is not base or known is None or len(known) != len(given):
            return False
        for name, value in given.items():
            if name not in known or known[name] is not value:
                return False
        return True


def with_given(base: Settings, given: dict[str, Any], last: Changed | None) -> Changed:
    """`base` with what is given, checked; the settings of `last`, if it came of equal values. Raises as the
    checks do."""
    made = Changed.__new__(Changed)
    made._base = base
    # What can change in itself is checked each time.
    made._given = given if _UNCHANGING.issuperset(map(type, given.values())) else None
    made._checked = {}
    for name, value in given.items():
        if name not in CHECKS:
            raise unknown(name)
        value = CHECKS[name](name, value)
        usual = getattr(base, name)
        if value is not usual and value != usual:
            made._checked[name] = value
    if last is not None and last._base is base and last._checked == made._checked:
        made.settings = last.settings
    else:
        made.settings = base.changed(made._checked) if made._checked else base
    return made


def unknown(name: str) -> TypeError:
    """The error for a name that is not a setting; one of a stream context's says where it belongs."""
    if name.startswith("on_") and name not in CALLBACKS:
        return TypeError(f"there is no event for {name!r}{nearest(name, CALLBACKS)}")
    inner = _of_stream_context(name, WRITABLE)
    return TypeError(f"unknown metadata {name!r}{inner or nearest(name, sorted(WRITABLE))}")


def no_argument(function: str, name: str, arguments: Iterable[str]) -> TypeError:
    """The error for a keyword of `function` that is neither a setting nor one of its own arguments."""
    if name.startswith("on_"):
        return unknown(name)
    known = sorted(arguments)
    found = closest(name, known, _SYNONYMS)
    hint = _of_stream_context(name, known) or (f", did you mean {found!r}?" if found else "")
    return TypeError(f"{function}() has no argument {name!r}{hint}; its arguments are {', '.join(known)}")


def _of_stream_context(name: str, known: Iterable[str]) -> str:
    """What to write for `name`, if it is nearer to a setting of a stream context than to a `known` name."""
    inner = StreamContext._names
    found = closest(name, (*known, *inner), {**_SYNONYMS, **StreamContext._synonyms}, 0.6)
    return f"; write stream_context={{{found!r}: ...}}" if found in inner else ""
