"""The targets of `fan_out`, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVarTuple

from .._generic import Generic, TypeVar, overload
from ..immutable import Immutable
from ..metadata import check_settings
from ..settings import WRITABLE, no_argument

if TYPE_CHECKING:
    from typing import Unpack

    from ..transports.tls_info import TlsInfo
    from ..typing import ConnectionKeywords, SocketAddress

R = TypeVar("R", default=Any)
Arguments = TypeVarTuple("Arguments")
ArgumentsT_co = TypeVar("ArgumentsT_co", covariant=True, default=Any)


def check_arguments(args: Iterable[Any]) -> tuple[Any, ...]:
    """Return a conversation's arguments as a tuple. TypeError unless an iterable of them."""
    if isinstance(args, str | bytes | bytearray) or not isinstance(args, Iterable):
        raise TypeError(f"args must be a tuple of arguments, such as ({args!r},), not {args!r}")
    return tuple(args)


def check_metadata(
    function: str, values: Mapping[str, Any], arguments: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the checked metadata of `function`, which has these other arguments. TypeError for an unknown
    name (with the closest one) and for a setting that each target has of its own, TypeError or ValueError for
    a wrong value."""
    for name in values:
        if name in _REFUSED:
            raise TypeError(f"{function}() takes no {name}: {_REFUSED[name]}")
        if name not in WRITABLE:
            known = (*arguments, *(one for one in WRITABLE if one not in _REFUSED))
            raise no_argument(function, name, known)
    return check_settings(values)


_NOTHING: Mapping[str, Any] = MappingProxyType({})
_REFUSED = {
    "address": "the targets are the addresses",
    "keep_alive": "a conversation's connection ends with it, and its outcome comes then",
}


class Target(Generic[ArgumentsT_co]):
    """One peer of a fan-out: an address, with arguments and settings of its own.

    `args`: the conversation's arguments, None for those of `fan_out`. `user_context` and `metadata` (any
    writable name of SocketMetadata but `keep_alive`) override those of `fan_out`. TypeError or ValueError for
    a wrong setting. A malformed address does not raise here: it is the outcome's error.

    Targets with the same contents are equal, and one with only an address equals that address.
    """

    __slots__ = ("_metadata", "address", "args", "user_context")

    @overload
    def __init__(
        self: Target[None],
        address: str,
        args: None = None,
        user_context: object = None,
        **metadata: Unpack[ConnectionKeywords],
    ) -> None: ...

    @overload
    def __init__(
        self: Target[tuple[*Arguments]],
        address: str,
        args: tuple[*Arguments],
        user_context: object = None,
        **metadata: Unpack[ConnectionKeywords],
    ) -> None: ...

    def __init__(
        self,
        address: str,
        args: Any = None,
        user_context: object = None,
        **metadata: Unpack[ConnectionKeywords],
    ) -> None:
        self.address = address
        self.args: ArgumentsT_co = None if args is None else check_arguments(args)  # type: ignore[assignment]
        self.user_context: Any = user_context
        own = ("args",)
        self._metadata = check_metadata("Target", metadata, own) if metadata else None  # as most have none

    @property
    def metadata(self) -> Mapping[str, object]:
        """What goes over `fan_out`'s own metadata."""
        return self._metadata or _NOTHING

    def _contents(self) -> tuple[Any, ...]:
        return self.address, self.args, self.user_context, self.metadata

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Target):
            return self._contents() == other._contents()
        return bool(self.args is None and self.user_context is None and not self.metadata) and (
            self.address == other
        )

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        more = [f"{name}={value!r}" for name, value in self.metadata.items()]
        for name in ("user_context", "args"):
            if getattr(self, name) is not None:
                more.insert(0, f"{name}={getattr(self, name)!r}")
        return f"Target({', '.join([repr(self.address), *more])})"


class Times(NamedTuple):
    """Seconds spent in each part of a life, 0.0 in a part that it did not reach."""

    resolving: float = 0.0
    connecting: float = 0.0
    handshaking: float = 0.0
    talking: float = 0.0


_NO_TIME = Times()


class Outcome(Immutable, Generic[R], what="outcome"):
    """The outcome of one target. `value` is the result, or raises the error.

    `target` is the target as given (an address becomes an equal Target), `address` its address. `result` is
    the conversation's return value, or None. `error` is None or the conversation's exception as raised, an
    error of the library (its `socket` is None), SocketTimeoutError for a time-out, AddressError or TypeError
    for an invalid address, ConversationEndedError if the conversation was cancelled, closed or replaced. Both
    are set if the conversation returned, but bytes that it had posted could not be sent.

    `attempts` is the number of connection attempts. `bytes_sent` and `bytes_received` (application bytes),
    `tls` as in SocketMetadata, `remote_address` in the form of the module `socket`, and `times`, the seconds
    `resolving`, `connecting`, `handshaking` and `talking`, are those of the last attempt.
    """

    target: Target
    result: R | None = None
    error: Exception | None = None
    attempts: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    tls: TlsInfo | None = None
    remote_address: SocketAddress = None
    times: Times = _NO_TIME

    __match_args__ = (
        "target", "result", "error", "attempts", "bytes_sent", "bytes_received", "tls", "remote_address",
        "times",
    )  # fmt: skip

    def __init__(
        self,
        target: Target,
        result: R | None = None,
        error: Exception | None = None,
        attempts: int = 0,
        bytes_sent: int = 0,
        bytes_received: int = 0,
        tls: TlsInfo | None = None,
        remote_address: SocketAddress = None,
        times: Times = _NO_TIME,
    ) -> None:
        self.__dict__.update(
            target=target, result=result, error=error, attempts=attempts, bytes_sent=bytes_sent,
            bytes_received=bytes_received, tls=tls, remote_address=remote_address, times=times,
        )  # fmt: skip

    __eq__ = object.__eq__  # an error is equal to itself only
    __hash__ = object.__hash__

    @property
    def address(self) -> str:
        """The target's address as given."""
        return self.target.address

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return self.error is None

    @property
    def value(self) -> R:
        """The result; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]

    def __repr__(self) -> str:
        end = repr(self.result) if self.error is None else repr(self.error)
        return f"<Outcome {self.address} {'ok' if self.ok else 'failed'} {end}>"
