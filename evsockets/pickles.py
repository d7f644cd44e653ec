"""Pickles for other processes: a check that an object can be pickled, and replacements of exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_IMPORTABLE = "functions and classes must be importable (no lambda, none inside another)"
_TLS = (
    "in place of an ssl.SSLContext give StreamContext(ca_data=PEM), paths such as ca_file= and certificate= "
    "(read by the worker), or tls= a function that makes one, which is called once a process"
)


def pickled(what: Any, dumps: Callable[[Any], bytes] | None = None, cure: str = _IMPORTABLE) -> bytes:
    """Return `what` as bytes, by `dumps` or else by pickle. TypeError, naming cures, if it cannot be sent
    to a worker process."""
    import pickle

    try:
        return (dumps or pickle.dumps)(what)
    except Exception as error:
        raise TypeError(f"this cannot be sent to workers: {error}; {cure}; {_TLS}") from error


def sendable(error: BaseException | None) -> BaseException | None:
    """Return the exception if it can be pickled and loaded again, else one that says what it was."""
    if error is None or (isinstance(error, OSError) and type(error).__module__ == "builtins"):
        return error
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__qualname__}, which cannot be pickled: {error!r}")
    return error
