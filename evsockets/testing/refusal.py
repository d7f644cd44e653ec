"""Makes the kernel refuse system calls of one thread: real failures, without privileges (Linux).

A seccomp filter (see seccomp(2)) applies to the thread that installs it, until the thread ends. So the code
under test runs in a thread of its own, and makes its engine there.
"""

from __future__ import annotations

import platform
import struct
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_CALLS = {
    "x86_64": {"epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281, "poll": 7, "sendto": 44},
    "aarch64": {"epoll_ctl": 21, "epoll_pwait": 22, "sendto": 206},
}
_LOAD, _EQUAL, _ABOVE, _RETURN = 0x20, 0x15, 0x25, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # linux/prctl.h


class CannotRefuse(Exception):
    """The system does not allow such a filter."""


def elsewhere(function: Callable[[], Result]) -> Result:
    """Call `function` in a thread of its own; returns or raises what it did."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def refuse(call: str, number: int, *, argument: int = 0, equals: int | None = None, above: int = 0) -> None:
    """From now on `call` (a name of `_CALLS`) fails with errno `number` in this thread.

    With `equals`, only if its argument with index `argument` has that value; with `above`, if it is a
    positive int above that. A call that this machine lacks is ignored. CannotRefuse if the system allows no
    filter.
    """
    if not sys.platform.startswith("linux") or platform.machine() not in _CALLS:
        raise CannotRefuse(f"no system calls to refuse on {sys.platform} {platform.machine()}")
    if call not in _CALLS[platform.machine()]:
        return
    conditions = []
    if equals is not None:
        conditions = [(_LOAD, 0, 0, 16 + 8 * argument), (_EQUAL, 0, 1, equals)]
    elif above:
        # An int: what is negative (to wait for ever) has its highest bit set.
        conditions = [(_LOAD, 0, 0, 16 + 8 * argument), (_ABOVE, 2, 0, 0x7FFFFFFF), (_ABOVE, 0, 1, above)]
    program = [
        (_LOAD, 0, 0, 0),
        (_EQUAL, 0, len(conditions) + 1, _CALLS[platform.machine()][call]),
        *conditions,
        (_RETURN, 0, 0, _ERRNO | number),
        (_RETURN, 0, 0, _ALLOW),
    ]
    _install(b"".join(struct.pack("HBBI", *step) for step in program), len(program))


def _install(code: bytes, steps: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", steps, ctypes.addressof(held))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0):
        raise CannotRefuse(f"this system refuses seccomp filters (errno {ctypes.get_errno()})")
