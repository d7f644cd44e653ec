"""The errors: whose kind is whose, and what they carry."""

from __future__ import annotations

import copy
import pickle

import pytest

import evsockets
from evsockets import (
    ConnectionFailedError,
    EvSocketsError,
    FixedLengthFramePicker,
    Frame,
    FrameError,
    NetworkSocketError,
    PartialFrame,
    SlowTransferError,
)

PARENTS = {
    "AddressError": (EvSocketsError, ValueError),
    "EngineError": (EvSocketsError,),
    "EngineUnavailableError": (evsockets.EngineError,),
    "UnknownSocketError": (EvSocketsError, LookupError),
    "NetworkSocketError": (EvSocketsError,),
    "ConnectionFailedError": (NetworkSocketError,),
    "TlsHandshakeError": (ConnectionFailedError,),
    "DisconnectedError": (NetworkSocketError,),
    "AcceptError": (NetworkSocketError,),
    "FrameError": (NetworkSocketError,),
    "UnmanagedSocketError": (NetworkSocketError,),
    "UnsupportedOperationError": (NetworkSocketError,),
    "HandlerError": (NetworkSocketError,),
    "TransferError": (NetworkSocketError,),
    "SendError": (evsockets.TransferError,),
    "ReceiveError": (evsockets.TransferError,),
    "SlowTransferError": (evsockets.TransferError,),
    "SocketTimeoutError": (NetworkSocketError, TimeoutError),
}
NETWORK = [name for name in PARENTS if issubclass(getattr(evsockets, name), NetworkSocketError)]


@pytest.mark.parametrize("name", PARENTS)
def test_kinds(name: str) -> None:
    assert getattr(evsockets, name).__bases__ == PARENTS[name]


@pytest.mark.parametrize("name", NETWORK)
def test_what_every_network_error_carries(name: str) -> None:
    kind = getattr(evsockets, name)
    socket = evsockets.ClientSocket()
    error = kind("went wrong", socket=socket, address="tcp://h:1", errno=5)
    assert str(error) == "went wrong"
    assert error.socket is socket and error.address == "tcp://h:1" and error.errno == 5
    bare = kind("went wrong")
    assert bare.socket is bare.address is bare.errno is None
    with pytest.raises(TypeError):
        kind("went wrong", socket)  # by name only


@pytest.mark.parametrize("name", NETWORK)
def test_pickled_it_carries_the_same_but_the_socket(name: str) -> None:
    error = getattr(evsockets, name)(
        "went wrong", socket=evsockets.ClientSocket(), address="tcp://h:1", errno=5
    )
    assert not pickle.loads(pickle.dumps(error)).__suppress_context__
    error.__cause__ = OSError(5, "cause")
    error.add_note("while testing")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error) and str(again) == "went wrong" and again.socket is None
        assert again.address == "tcp://h:1" and again.errno == 5 and again.__cause__.errno == 5
        assert again.__notes__ == ["while testing"] and again.__suppress_context__


def test_what_some_carry_besides() -> None:
    refused = OSError(111, "Connection refused")
    assert ConnectionFailedError("x", attempts=[("a", refused)]).attempts == [("a", refused)]
    assert ConnectionFailedError("x").attempts == []
    picker, partial = FixedLengthFramePicker(3), PartialFrame(Frame(b"ab"))
    error = FrameError("x", picker=picker, partial=partial)
    assert error.picker is picker and error.partial is partial
    slow = SlowTransferError("x", direction="send", speed=1.5, duration=2.0)
    assert (slow.direction, slow.speed, slow.duration) == ("send", 1.5, 2.0)
