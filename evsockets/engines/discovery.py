"""Engines by name: the installed ones, the usable ones, and the choice of one.

Engines are found by the entry point group `evsockets.engines` and loaded only on use. The standard
library's engine needs no installed metadata.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EngineUnavailableError
from .base import CONTRACT, Engine
from .stdlib import SelectorsEngine

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "evsockets.engines"
"""The entry point group of engines."""
PREFERRED = ("libev", "selectors")
"""The engines tried, in order, if none is named."""

_BUILT_IN: dict[str, type[Engine]] = {"selectors": SelectorsEngine}
_ANNOUNCED: dict[str, EntryPoint] = {}  # besides the installed ones
_installed: dict[str, EntryPoint] | None = None  # as read, which costs more than a loop; None: not yet
_OFFICIAL = ("gevent", "libev", "libevent")
_VERBS = ("watch", "poll", "close")


class _Unusable(Exception):
    """Carries the reason why one candidate cannot be used."""


def available_engines(refresh: bool = False) -> dict[str, str | None]:
    """Return every known `name` and `name:variant`, with None if usable, else the reason and the remedy.

    Loads every installed engine; one that fails to load does not affect others. The installed engines are
    read once per process; `refresh` reads them again.
    """
    global _installed
    if refresh:
        importlib.invalidate_caches()
        _installed = None
    found: dict[str, str | None] = {}
    for name in _known():
        try:
            kind = _load(name)
        except _Unusable as reason:
            found[name] = str(reason)
            continue
        found[name] = None
        for variant in _variants(kind):
            found[f"{name}:{variant}"] = _why_not(name, kind, variant)
    return found


def create_engine(name: str | None = None, *, preferred: Sequence[str] = PREFERRED) -> Engine:
    """Return a new engine.

    `name` is a name or `name:variant`; None: that of the environment variable `EVSOCKETS_ENGINE`, else
    gevent's if gevent has monkey-patched `socket`, else the first usable one of `preferred`. Raises
    EngineUnavailableError, with every candidate, the reason and what to install.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"an engine's name must be a str, not {name!r}")
    candidates, why = _candidates(name, preferred)
    failures: list[str] = []
    for candidate in candidates:
        try:
            return _make(candidate)
        except _Unusable as reason:
            failures.append(f"{candidate}: {reason}")
            cause = reason.__cause__
    if not failures:
        raise EngineUnavailableError("no engine to try: the list of preferred engines is empty")
    raise EngineUnavailableError("\n  ".join([f"no engine can be used ({why}):", *failures])) from cause


def check_contract(engine: Engine) -> None:
    """Refuse an engine of the caller's own that is written for another contract, as one that is found is."""
    flaw = _flaw(type(engine))
    if flaw is not None:
        raise EngineUnavailableError(f"{engine!r} {flaw}")


def _candidates(name: str | None, preferred: Sequence[str]) -> tuple[Sequence[str], str]:
    if name is not None:
        return [name], "asked for by name"
    wanted = os.environ.get("EVSOCKETS_ENGINE", "").strip()
    if wanted:
        return [wanted], "asked for by EVSOCKETS_ENGINE"
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        return ["gevent"], "gevent has monkey-patched socket"
    return list(preferred), "by preference"


def announce(target: str) -> str:
    """Register `target`, a `package.module:Class`, in this process as if it were installed.

    Returns its name, which is the class's `name`. For suites that test an engine before it is installed;
    ImportError or AttributeError if there is no such class.
    """
    from importlib.metadata import EntryPoint

    entry = EntryPoint("", target, GROUP)
    name = str(getattr(entry.load(), "name", entry.attr))
    _ANNOUNCED[name] = EntryPoint(name, target, GROUP)
    return name


def announced() -> dict[str, EntryPoint]:
    """Entry points by name; of two with one name, the distribution that sorts first wins. OSError if they
    cannot be read."""
    global _installed
    if _installed is None:
        # importlib.metadata takes a folder it cannot list for an empty one, and remembers that.
        os.close(os.open(os.devnull, os.O_RDONLY))
        from importlib.metadata import entry_points

        entries = sorted(entry_points(group=GROUP), key=_distribution, reverse=True)
        _installed = {entry.name: entry for entry in entries}
    return _installed | _ANNOUNCED


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _known() -> list[str]:
    try:
        installed: Iterable[str] = announced()
    except OSError:  # `_load` says so for each of the others
        installed = ()
    return sorted({*_BUILT_IN, *_OFFICIAL, *installed})


def _make(candidate: str) -> Engine:
    name, colon, variant = candidate.partition(":")
    kind = _load(name)
    try:
        return kind(variant) if colon else kind()  # type: ignore[call-arg]
    except Exception as error:
        reason = str(error) if isinstance(error, EngineUnavailableError | ValueError) else repr(error)
        if colon and isinstance(error, TypeError) and not _variants(kind):
            reason = f"the engine {name!r} has no variants"
        elif colon and variant not in _variants(kind):
            reason = _with_known(f"the engine {name!r} has no variant {variant!r}", variant, _variants(kind))
        raise _Unusable(reason) from error


def _why_not(name: str, kind: type[Engine], variant: str) -> str | None:
    try:
        _make(f"{name}:{variant}").close()
    except _Unusable as reason:
        return str(reason)
    return None


def _variants(kind: type[Engine]) -> Sequence[str]:
    try:
        return list(getattr(kind, "variants", Engine.variants)())
    except Exception:
        return []


def _load(name: str) -> type[Engine]:
    """Return the engine class, checked for being one and for being usable here."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    try:
        entry = announced().get(name)
    except OSError as error:
        raise _Unusable(f"the installed distributions' entry points cannot be read: {error}") from error
    if entry is None:
        if name in _OFFICIAL:
            raise _Unusable(f'not installed; install it with: pip install "evsockets[{name}]"')
        known = _with_known(f"no engine is named {name!r}", name, _known())
        raise _Unusable(f"{known}; for another one install the distribution that brings it")
    try:
        kind = entry.load()
    except (Exception, SystemExit) as error:
        raise _broken(entry, f"cannot be loaded: {error!r}") from error
    flaw = _flaw(kind)
    if flaw is not None:
        raise _broken(entry, flaw)
    try:
        reason = kind.available() if hasattr(kind, "available") else None
    except Exception as error:
        raise _broken(entry, f"fails when asked whether it is available: {error!r}") from error
    if reason is not None:
        raise _Unusable(f"{reason} (distribution {_distribution(entry)})")
    return kind  # type: ignore[no-any-return]


def _broken(entry: EntryPoint, complaint: str) -> _Unusable:
    name = _distribution(entry)  # reads and parses its metadata: only for those who complain
    cure = f"upgrade, reinstall or remove the distribution {name}"
    return _Unusable(f"{name} ({entry.value}) {complaint}; {cure}")


def _flaw(kind: Any) -> str | None:
    if not isinstance(kind, type):
        return f"is not a class but {kind!r}"
    contract = getattr(kind, "contract", CONTRACT)
    if contract != CONTRACT:
        return f"is written for engine contract {contract!r}, and this is evsockets with contract {CONTRACT}"
    abstract: frozenset[str] = getattr(kind, "__abstractmethods__", frozenset())
    missing = {verb for verb in _VERBS if not callable(getattr(kind, verb, None))} | abstract
    if missing:
        return f"lacks {', '.join(sorted(missing))}"
    return None


def _with_known(complaint: str, given: str, known: Iterable[str]) -> str:
    import difflib

    names = list(known)
    variants = [f"{name}:{given}" for name, kind in _BUILT_IN.items() if given in _variants(kind)]
    near = variants or difflib.get_close_matches(given, names, 1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"{complaint}{hint or ';'} known: {', '.join(names)}"
