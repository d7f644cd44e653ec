"""Checks of what users set: each returns the value as it is kept, or says by name what is wrong with it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from functools import partial
from types import CodeType
from typing import Any

from .address import UNIX_PATH_LIMIT, check_host, numeric_address, split_host_port
from .errors import AddressError

# As inspect.CO_COROUTINE and CO_ASYNC_GENERATOR, whose module takes long to import.
COROUTINE, ASYNC_GENERATOR = 0x80, 0x200


def check_number(name: str, value: object) -> float:
    """Return `value` as a float. Raises TypeError for no number, ValueError for a negative one or NaN."""
    kind = type(value)
    if isinstance(value, (bool, str, bytes, bytearray)) or not (
        hasattr(kind, "__float__") or hasattr(kind, "__index__")
    ):
        raise TypeError(f"{name} must be a number or None, not {kind.__name__}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError(f"{name} is too large") from None
    if math.isnan(number) or number < 0:
        raise ValueError(f"{name} must not be negative or NaN: {value!r}")
    return number


def check_called(name: str, value: object) -> None:
    """Raise TypeError unless a call of `value` does what it is for: for what is not callable, and for a
    coroutine function, whose call only makes a coroutine."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    if is_function_of(value, COROUTINE):
        cure = f"give the socket ConversationOperation({getattr(value, '__name__', 'function')})"
        raise TypeError(f"{name} must not be a coroutine function, got {value!r}: {cure}, which runs it")


def is_function_of(function: Any, kind: int) -> bool:
    """Whether a call of `function` makes a coroutine, or an asynchronous generator, instead of running it."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        code = getattr(function.__call__, "__code__", None)
    return isinstance(code, CodeType) and bool(code.co_flags & kind)


def check_timeout(name: str, value: object) -> float | None:
    """Return the time-out `value` in seconds as a float; None (and infinity) wait for ever.

    Raises TypeError for what is no number, ValueError for a negative one or NaN; both name `name`.
    """
    if value is None:
        return None
    number = check_number(name, value)
    return None if math.isinf(number) else number


def check_seconds(name: str, value: object) -> float:
    """Return the time `value` in seconds as a float. Raises TypeError for what is no number, ValueError for a
    negative or infinite one or NaN."""
    if value is None:
        raise TypeError(f"{name} must be a number, not None")
    number = check_number(name, value)
    if math.isinf(number):
        raise ValueError(f"{name} must be finite")
    return number


def check_speed(name: str, value: object) -> float | None:
    """Return the minimum speed `value` in bytes/s as a float; None for none. Raises as check_timeout."""
    if value is None:
        return None
    number = check_number(name, value)
    if math.isinf(number):
        raise ValueError(f"{name} must be finite")
    return number


def check_duration(name: str, value: object) -> float | None:
    """Return the time `value` in seconds a speed is measured over; None for none. Raises as check_timeout,
    and ValueError for 0."""
    number = check_timeout(name, value)
    if number == 0:
        raise ValueError(f"{name} must be more than 0")
    return number


def closest(name: str, known: Iterable[str], synonyms: Mapping[str, str], likeness: float = 0.5) -> str:
    """Return the known name that `name` is a synonym of, or that is closest to it; "" if none is close."""
    import difflib

    known = tuple(known)
    if synonyms.get(name) in known:
        return synonyms[name]
    return "".join(difflib.get_close_matches(name, known, 1, likeness))


def nearest(name: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Return ", did you mean 'x'?" for the known name closest to `name`; if none is close, all of them."""
    known = tuple(known)
    found = closest(name, known, synonyms or {})
    return f", did you mean {found!r}?" if found else f"; known are {', '.join(known)}"


def check_flag(name: str, value: object) -> None:
    """Raises TypeError for anything but True and False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")


def check_int(name: str, value: object, low: int, high: int) -> None:
    """Raises TypeError for no int, ValueError for one outside `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low} to {high}, not {value}")


def check_names(name: str, value: object) -> tuple[str, ...]:
    """Return an iterable of str as a tuple (None: empty). Raises TypeError for anything else."""
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence of str, not {type(value).__name__}")
    names = tuple(value)
    for entry in names:
        if not isinstance(entry, str):
            raise TypeError(f"{name} must be a sequence of str, not of {type(entry).__name__}")
    return names


def check_server_hostname(value: object) -> None:
    """Raises TypeError for anything but a str and None, ValueError for what names no host."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"server_hostname must be a str or None, not {value!r}")
    try:
        check_host(value)
    except AddressError as error:
        raise ValueError(f"server_hostname: {error}") from None


def check_options(value: object) -> tuple[tuple[int, int, int | bytes], ...]:
    """Return an iterable of socket options, (level, name, value) each, as a tuple. Raises TypeError for what
    is none, ValueError for a number that is no C int; both name the option."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"options must be a sequence of (level, name, value), not {type(value).__name__}")
    found = []
    for option in value:
        if not isinstance(option, (tuple, list)) or len(option) != 3:
            raise TypeError(f"options: an option is (level, name, value), not {option!r}")
        level, name, given = option
        check_int(f"options: the level of {option!r}", level, 0, 2**31 - 1)
        check_int(f"options: the name of {option!r}", name, 0, 2**31 - 1)
        if isinstance(given, (bytearray, memoryview)):
            given = bytes(given)
        elif isinstance(given, int):
            given = int(given)  # True and False, too
            check_int(f"options: the value of {option!r}", given, -(2**31), 2**31 - 1)
        elif not isinstance(given, bytes):
            raise TypeError(f"options: the value of {option!r} must be an int or bytes")
        found.append((int(level), int(name), given))
    return tuple(found)


def check_certificates(name: str, value: object) -> str:
    """Return PEM certificates (str or bytes) as an ASCII str. Raises TypeError or ValueError for none."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value).decode("latin-1")
    if not isinstance(value, str):
        raise TypeError(f"{name} must be PEM certificates, str or bytes, not {type(value).__name__}")
    if "-----BEGIN CERTIFICATE-----" not in value:
        cures = "a path is for ca_file=, and ssl.DER_cert_to_PEM_cert() makes PEM of DER"
        raise ValueError(f"{name} has no PEM certificate (-----BEGIN CERTIFICATE-----): {cures}")
    return value.encode("ascii", "replace").decode()  # what is around them may be in any language


def check_ciphers(value: object) -> None:
    """Raises TypeError for anything but a str and None, ValueError for a list that has no cipher."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"ciphers must be an OpenSSL cipher list (str) or None, not {type(value).__name__}")
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(value)
    except ssl.SSLError as error:
        why = "'openssl ciphers -v' lists them, and those of TLS 1.3 cannot be chosen"
        raise ValueError(f"ciphers: OpenSSL knows no cipher of {value!r}; {why}") from error


def parse_bind(value: object) -> tuple[str, int] | str:
    """Take a `bind_to` apart: `(host, port)`, or a str for a unix path. Raises TypeError or ValueError.

    A host is numeric, "localhost" (of the family in use) or "" (any): nothing is looked up.
    """
    if isinstance(value, str):
        if value.startswith("@") or "/" in value:
            if len(os.fsencode(value.removeprefix("@"))) > UNIX_PATH_LIMIT or "\0" in value or value == "@":
                raise ValueError(f"bind_to {value!r} is no path for a socket (limit {UNIX_PATH_LIMIT} bytes)")
            return value
        if value.count(":") > 1 and not value.startswith("["):
            host, port = value, None
        else:
            host, port = _split(value)
        return _bind_host(host), port or 0
    if isinstance(value, tuple) and len(value) == 2:
        host, port = value
        if isinstance(host, str) and isinstance(port, int) and not isinstance(port, bool):
            if not 0 <= port <= 65535:
                raise ValueError(f"bind_to's port {port} is out of range (0 to 65535)")
            return _bind_host(host), port
    raise TypeError("bind_to must be (host, port), 'host:port', 'host' or a unix path")


def _split(value: str) -> tuple[str, int | None]:
    try:
        return split_host_port(value)
    except AddressError as error:
        raise ValueError(f"bind_to {value!r}: {error}") from None


def _bind_host(host: str) -> str:
    if host in ("", "localhost"):
        return host
    try:
        host = check_host(host)
        if numeric_address(host, 0) is not None:
            return host
    except AddressError as error:
        raise ValueError(f"bind_to: {error}") from None
    except OSError:  # a zone that is not there now may be there when it is used
        return host
    raise ValueError(f"bind_to's host must be a numeric address, 'localhost' or '', not {host!r}")


def check_group(group: str) -> None:
    """Raises ValueError for what is no multicast address."""
    try:
        found = numeric_address(group, 0)
    except OSError:  # an unknown zone is an error when the group is joined
        return
    if found is None or not (
        group.lower().startswith("ff") if ":" in group else 224 <= int(group.split(".")[0]) <= 239
    ):
        raise ValueError(f"multicast_groups: {group!r} is no multicast address")


def check_keepalive(value: object) -> None:
    """Raises TypeError or ValueError for what `tcp_keepalive` cannot be."""
    numbers = value if isinstance(value, tuple) else (value,)
    if isinstance(value, tuple) and len(value) != 3:
        raise ValueError("tcp_keepalive's tuple is (seconds before, seconds between, probes)")
    if isinstance(value, bool):
        return
    for number in numbers:
        if check_number("tcp_keepalive", number) < 1:
            raise ValueError("tcp_keepalive's numbers must be at least 1")


def as_bytes(item: Any) -> bytes:
    """What an iterable gave, as bytes; TypeError if it is not bytes-like."""
    if type(item) is bytes:
        return item
    try:
        return bytes(memoryview(item).cast("B"))
    except TypeError:
        raise TypeError(f"the iterable must yield bytes-like, got {type(item).__name__}") from None
