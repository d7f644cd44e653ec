"""Which way from Python to libev is taken: our pyev, gevent's core, pyev 0.9."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .binding import Binding
from .gevent_core import GeventCore
from .pyevs import GenuinePyev, Pyev

_PYEV_NAMES = ("Loop", "EVRUN_ONCE", "EVRUN_NOWAIT", "supported_backends", "abi_version")


_missing: set[str] = set()  # looked for in vain: a search costs more than a loop


def _module(name: str) -> Any:
    """A module, None if it cannot be imported; searched for once per process."""
    if name not in sys.modules and name in _missing:
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        _missing.add(name)
        return None


def find_binding() -> type[Binding] | None:
    """The best binding that can be used: our pyev, else gevent's core, else pyev 0.9, else None."""
    pyev = _module("pyev")
    usable = pyev is not None and _unfit(pyev) is None
    if usable and hasattr(pyev.Loop, "poll"):
        return Pyev
    if _module("gevent.libev.corecext") is not None:
        return GeventCore
    return GenuinePyev if usable else None


def passed_over() -> str | None:
    """Why the pyev that is here cannot be used; None if it can, or if there is none."""
    pyev = _module("pyev")
    return None if pyev is None else _unfit(pyev)


def _unfit(pyev: Any) -> str | None:
    missing = [name for name in _PYEV_NAMES if not hasattr(pyev, name)]
    if missing:
        return f"the module pyev lacks {', '.join(missing)}"
    version = str(getattr(pyev, "__version__", ""))
    if version.startswith("0.") and sys.version_info >= (3, 12):
        return (
            f"pyev {version} crashes Python 3.12 and later: it gives libev Python's allocator, which libev "
            "then calls without Python's lock"
        )
    return None


def flaw(binding: type[Binding], backend: str) -> str | None:
    """What keeps one of libev's back ends from keeping the contract; None if nothing is known.

    io_uring: its completion ring has 64 places, and what does not fit is never reported. The next change
    then fails the assertion "io_uring_enter did not consume all sqes" (seen with Linux 6.18).
    """
    if backend == "io_uring" and binding.version() <= (4, 33):
        return (
            "libev 4.33's io_uring loses events (of more than 64 descriptors ready at once it tells 64) and "
            "then aborts the process; use libev:epoll"
        )
    return None


def why_none() -> str | None:
    """Why there is no binding and what to install; None if there is one."""
    if find_binding() is not None:
        return None
    reasons = []
    for module in ("pyev", "gevent.libev.corecext"):
        try:
            importlib.import_module(module)
            reasons.append(str(passed_over()))
        except ImportError as error:
            reasons.append(f"{module}: {error}")
    return (
        f"no binding to libev ({'; '.join(reasons)}); install one with: pip install evsockets-pyev "
        "(which needs libev's headers), or pip install gevent"
    )
