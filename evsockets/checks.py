"""Checks of what users set: each returns the value as it is kept, or says by name what is wrong with it."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable

from .address import UNIX_PATH_LIMIT, check_host, numeric_address, split_host_port
from .errors import AddressError


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


def check_timeout(name: str, value: object) -> float | None:
    """Return the time-out `value` in seconds as a float; None (and infinity) wait for ever.

    Raises TypeError for what is no number, ValueError for a negative one or NaN; both name `name`.
    """
    if value is None:
        return None
    number = check_number(name, value)
    return None if math.isinf(number) else number


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


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the known name closest to `name`, or "" if none is close."""
    found = difflib.get_close_matches(name, known, 1, 0.5)
    return f", did you mean {found[0]!r}?" if found else ""


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
    except OSError:  # an unknown zone is told when the group is joined
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
