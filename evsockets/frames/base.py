"""Frames, and the contract of frame pickers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._generic import Generic, TypeVar
from ..recycled import recycled
from .inbox import Inbox, RemoteAddress

if TYPE_CHECKING:
    from ..sockets import AcceptedSocket, DatagramClientSocket


class Frame:
    """One piece of received data: `data` (bytes), and the `remote_address` of its sender.

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

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)  # of a subclass, which compiled code would not ask
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash((self.data, self.remote_address))

    def __getstate__(self) -> Any:
        return object.__getstate__(self)  # what Cython gives leaves out the slots of subclasses

    def __repr__(self) -> str:
        shown = self.data if len(self.data) <= 40 else self.data[:37] + b"..."
        return f"<{self.__class__.__name__} of {len(self.data)} bytes {shown!r} from {self.remote_address!r}>"


recycled(Frame)


class PartialFrame(Frame):
    """The received part of a frame that was never complete; `frame` is the wrapped one."""

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
    """A new client of a server: `client_socket` is its socket, `data` its address as text."""

    __slots__ = ("client_socket",)

    def __init__(
        self, client_socket: AcceptedSocket | DatagramClientSocket, remote_address: RemoteAddress
    ) -> None:
        self.client_socket = client_socket
        self.data = _address_text(remote_address).encode("utf-8", "surrogateescape")
        self.remote_address = remote_address



FrameT_co = TypeVar("FrameT_co", bound=Frame, covariant=True, default=Frame)
"""The class of the frames that a picker finds, and so of those that are read."""


class _Root:
    """What a compiled class has to have for its first base, to have another one that is not compiled."""

    __slots__ = ()

    def __getstate__(self) -> Any:
        return object.__getstate__(self)  # as of frames


class FramePicker(_Root, Generic[FrameT_co]):
    """Finds frames in received bytes; `FramePicker[MyFrame]` finds frames of the class MyFrame.

    `pick` is called whenever bytes have arrived, and once more with `ended` true at the end of the stream.
    It must keep no state between calls if one picker is to serve several frames or sockets.
    """

    __slots__ = ()

    def pick(self, inbox: Inbox, ended: bool) -> FrameT_co | None:
        """Take one whole frame out of `inbox`, or return None for more bytes.

        Bytes after the frame must stay in the inbox. With `ended` true None means that the bytes form no
        frame. Raises `FrameError` if they never can.
        """
        raise NotImplementedError(f"{type(self).__name__} has no pick(inbox, ended)")


def _address_text(address: RemoteAddress) -> str:
    if address is None:
        return ""
    if isinstance(address, str):
        return address
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
