"""What `fan_out` is given and gives: a target, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVarTuple

from ._generic import Generic, TypeVar, overload
from .metadata import check_settings

if TYPE_CHECKING:
    from typing import Unpack

    from .transports.tls_info import TlsInfo
    from .typing import ConnectionKeywords, SocketAddress

R = TypeVar("R", default=Any)
Arguments = TypeVarTuple("Arguments")
ArgumentsT_co = TypeVar("ArgumentsT_co", covariant=True, default=Any)


def check_arguments(args: Iterable[Any]) -> tuple[Any, ...]:
    """Return a conversation's arguments as a tuple. TypeError for what holds none."""
    if isinstance(args, str | bytes | bytearray) or not isinstance(args, Iterable):
        raise TypeError(f"args must be a tuple of arguments, such as ({args!r},), not {args!r}")
    return tuple(args)


def check_metadata(who: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata given to `who` as it is kept: TypeError for an unknown name (naming the closest
    one) and for what each target has of its own, TypeError or ValueError for a value."""
    for name, why in _REFUSED.items():
        if name in values:
            raise TypeError(f"{who} takes no {name}: {why}")
    return check_settings(values)


_NOTHING: Mapping[str, Any] = MappingProxyType({})
_REFUSED = {
    "address": "the targets are the addresses",
    "keep_alive": "a conversation's connection ends with it, and its outcome comes then",
}


class Target(Generic[ArgumentsT_co]):
    """One peer to talk to: an address and what is particular about it.

    `args`: the conversation's arguments, None for `fan_out`'s own. `user_context` and `metadata` (any
    writable name of SocketMetadata but `keep_alive`) go over `fan_out`'s own. TypeError or ValueError for
    what cannot be set. A wrong address is no error here: it is the outcome's.

    Two with the same contents are equal, and one with nothing but an address equals that address.
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
        self._metadata = check_metadata("a Target", metadata) if metadata else None  # as most have none

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
    """Seconds spent in each part of a life, 0.0 in one that was not come to."""

    resolving: float = 0.0
    connecting: float = 0.0
    handshaking: float = 0.0
    talking: float = 0.0


_NO_TIME = Times()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(Generic[R]):
    """What came of one target. `value` is the result, or raises the error.

    `target` as it was given (an address becomes a Target, and equals it), `address` its address. `result` is
    what the conversation returned, None if it did not. `error` is None or what ended it: the conversation's
    exception as it was raised, an error of the library (its `socket` is None), SocketTimeoutError for a
    time-out, AddressError or TypeError for an address that cannot be used, ConversationEndedError where it
    was cancelled, closed or replaced. Both are there where bytes that it had posted could not leave any more.

    `attempts` counts the lives it had; what follows is of the last one: `bytes_sent` and `bytes_received`
    (application bytes), `tls` as in SocketMetadata, `remote_address` as `socket` gives it, and `times`, the
    seconds `resolving`, `connecting`, `handshaking` and `talking`.
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

    @property
    def address(self) -> str:
        """The target's address, as it was given."""
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
