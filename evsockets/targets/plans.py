"""The checked arguments of a fan-out, the same in each of its processes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..callbacks import handlers_of
from ..executor import RequestExecutor
from ..validation import check_int, check_seconds
from .attempts import TargetOperation
from .gathering import Gathering
from .outcomes import Outcome, Target, check_arguments, check_metadata

if TYPE_CHECKING:
    from ..configuration import Configuration
    from ..engines.base import Engine

_ARGUMENTS = ("args", "limit", "retries", "backoff", "retry_if", "engine", "configuration", "handler")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The function of a fan-out, and the settings for each target."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    args: tuple[Any, ...]
    limit: int
    retries: int
    backoff: float
    retry_if: Callable[[Outcome[Any]], object] | None
    engine: str | Engine | None
    configuration: Configuration | None
    handlers: tuple[Any, ...]
    metadata: Mapping[str, Any]

    def executor(self) -> RequestExecutor:
        """A new executor for the gathering. EngineUnavailableError."""
        return RequestExecutor(self.engine, configuration=self.configuration)

    def gathering(self, executor: RequestExecutor, targets: Iterator[str | Target]) -> Gathering[Any]:
        """The gathering of `targets` on `executor`."""
        return Gathering(
            executor, operation=TargetOperation(self.function, *self.args), targets=targets,
            limit=self.limit, retries=self.retries, backoff=self.backoff, retry_if=self.retry_if,
            handlers=self.handlers, metadata=self.metadata,
        )  # fmt: skip


def plan(
    function: Callable[..., Coroutine[Any, Any, Any]],
    *,
    args: Any = (),
    limit: int = 100,
    retries: int = 0,
    backoff: float = 0.1,
    retry_if: Callable[[Outcome[Any]], object] | None = None,
    engine: str | Engine | None = None,
    configuration: Configuration | None = None,
    handler: Any = None,
    more: Iterable[str] = ("processes",),
    **metadata: Any,
) -> Plan:
    """Check the arguments of `fan_out`, which has `more` than these. TypeError or ValueError for invalid
    ones."""
    args = check_arguments(args)
    TargetOperation(function, *args)
    check_int("limit", limit, 1, 2**31 - 1)
    check_int("retries", retries, 0, 2**31 - 1)
    backoff = check_seconds("backoff", backoff)
    if retry_if is not None and not callable(retry_if):
        raise TypeError(f"retry_if must be a callable taking an Outcome, got {retry_if!r}")
    handlers = handlers_of(metadata, handler)
    return Plan(
        function=function, args=args, limit=limit, retries=retries, backoff=backoff, retry_if=retry_if,
        engine=engine, configuration=configuration, handlers=handlers,
        metadata=check_metadata("fan_out", metadata, (*_ARGUMENTS, *more)),
    )  # fmt: skip
