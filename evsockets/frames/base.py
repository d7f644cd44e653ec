"""What a frame is, and what a frame picker promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import FrameError

if TYPE_CHECKING:
    from .inbox import Inbox

RemoteAddress: TypeAlias = "tuple[Any, ...] | str | None"
"""An address as `socket` gives it: (host, port), the IPv6 4-tuple, a path, or None if there is none."""

DEFAULT_MAX_LENGTH = 16 * 1024 * 1024
"""The largest frame, in bytes, unless the picker is told otherwise."""


class Frame:
    """One piece of received data: `data` (bytes) and the `remote_address` it came from.

    `bytes(frame)` is the data, `len(frame)` its length (an empty frame is therefore false). Frames of the
    same class with equal data and address are equal.
    """

    __slots__ = ("data", "remote_address")

    def __init__(self, data: bytes, remote_address: RemoteAddress = None) -> None:
        self.data = data
        self.remote_address = remote_address

    def __bytes__(self) -> bytes:
        return self.data

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame) or self.__class__ is not other.__class__:
            return NotImplemented
        return self.data == other.data and self.remote_address == other.remote_address

    def __hash__(self) -> int:
        return hash((self.data, self.remote_address))

    def __repr__(self) -> str:
        shown = self.data if len(self.data) <= 40 else self.data[:37] + b"..."
        return f"<{self.__class__.__name__} of {len(self.data)} bytes {shown!r} from {self.remote_address!r}>"


class PartialFrame(Frame):
    """What had arrived of a frame that never became whole; `frame` is the wrapped one."""

    __slots__ = ("frame",)

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.data, frame.remote_address)
        self.frame = frame


class EmptyFrame(Frame):
    """A frame without data."""

    __slots__ = ()

    def __init__(self, remote_address: RemoteAddress = None) -> None:
        super().__init__(b"", remote_address)


class AcceptedFrame(Frame):
    """What a server reads: a new client. `client_socket` is its socket, `data` its address as text."""

    __slots__ = ("client_socket",)

    def __init__(self, client_socket: Any, remote_address: RemoteAddress) -> None:
        self.client_socket = client_socket
        self.remote_address = remote_address

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The address as text; made when somebody asks, for most have the address itself."""
        return _address_text(self.remote_address).encode("utf-8", "surrogateescape")


class FramePicker(ABC):
    """Finds frames in received bytes.

    `pick` is called whenever bytes have arrived, and once more with `ended` true when no more will come.
    It must not keep anything between calls if the picker is to serve several frames or sockets.
    """

    __slots__ = ()

    @abstractmethod
    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """Take one whole frame out of `inbox`, or return None to ask for more.

        Bytes beyond the frame must stay in the inbox. With `ended` true None means that what is there
        makes no frame. Raises `FrameError` if it never can.
        """


def checked_length(name: str, value: int) -> int:
    """`value` if it is a possible number of bytes; else TypeError or ValueError naming it."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative: {value}")
    return value


def over_limit(picker: FramePicker, inbox: Inbox, limit: int, shown: int | None = None) -> FrameError:
    """The error for a frame over `limit` bytes; its partial frame has the first `shown` (or `limit`)."""
    partial = PartialFrame(Frame(inbox.peek(limit if shown is None else shown), inbox.remote_address))
    message = f"the frame is longer than the limit of {limit} bytes ({type(picker).__name__})"
    error = FrameError(message, picker=picker, partial=partial)
    error._unplaced = True
    return error


def _address_text(address: RemoteAddress) -> str:
    if address is None:
        return ""
    if isinstance(address, str):
        return address
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
