"""A shard: some targets of a fan-out for another process, as bytes, and their outcomes as bytes."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from .engines.base import Engine
from .errors import ConversationEndedError, EvSocketsError
from .operations.conversation import checked
from .outcomes import Outcome, Target
from .pickles import pickled, sendable
from .plans import Plan
from .turns import Turns

# Seconds after which a running shard notices that it is to stop.
_HEED = 0.1

Dumps = Callable[[Any], bytes]

#: One outcome: its target's place in the shard, the other fields in order, and the cause of its error. As
#: bytes where it cannot be pickled together with others.
Row = tuple[Any, ...] | bytes


def shards_of(targets: Iterator[Any], size: int, at_once: int = 1) -> Iterator[list[Any]]:
    """Yield the targets in lists of at most `size`. They are taken for `at_once` lists at a time, and divided
    evenly. An exception of `targets` is raised after the targets before it have been yielded."""
    failure = None
    pulled = [None]
    while failure is None and pulled:
        pulled = []
        try:
            for target in islice(targets, size * at_once):
                pulled.append(target)
        except Exception as error:
            failure = error
        each = -(-len(pulled) // at_once)
        for first in range(0, len(pulled), each or 1):
            yield pulled[first : first + each]
    if failure is not None:
        raise failure


def job_of(plan: Plan, dumps: Dumps = pickle.dumps, **cure: str) -> bytes:
    """Return the pickled plan that every shard of a fan-out needs. TypeError if it cannot be pickled."""
    if isinstance(plan.engine, Engine):
        name = plan.engine.name
        raise TypeError(f"{plan.engine!r} cannot be sent to workers: name it, as in engine={name!r}")
    return pickled(plan, dumps, **cure)


def packed(targets: Sequence[Any], dumps: Dumps) -> tuple[bytes, list[Any], list[Outcome[Any]]]:
    """Return a shard as bytes, its targets in order, and the outcomes of those that cannot be pickled."""
    try:
        return dumps(targets), list(targets), []
    except Exception:
        good, bad = [], []
        for target in targets:
            try:
                pickled(target, dumps)
            except TypeError as error:
                bad.append(Outcome(_target(target), error=error.with_traceback(None)))
            else:
                good.append(target)
        return dumps(good), good, bad


def run_shard(
    job: bytes, shard: bytes, stopped: Callable[[], bool] | None = None, dumps: Dumps = pickle.dumps
) -> bytes:
    """Run the plan `job` with the targets of `shard`, and return the outcomes, for `unpacked`.

    When `stopped()` is true, the run ends within a fraction of a second. `dumps` pickles objects that pickle
    cannot. An exception that ends the run is part of the returned bytes.
    """
    rows: list[Row] = []
    failure: BaseException | None = None
    try:
        for row in _rows(job, shard, stopped):
            rows.append(row)
    except BaseException as error:
        failure = sendable(error)
    try:
        data = pickle.dumps((rows, failure))
        pickle.loads(data)
    except Exception:
        data = pickle.dumps(([_alone(row, dumps) for row in rows], failure))
    return data


@lru_cache(maxsize=16)
def load(job: bytes) -> Plan:
    """The plan of the job: the same object each time within a process."""
    plan: Plan = pickle.loads(job)
    return plan


def _rows(job: bytes, shard: bytes, stopped: Callable[[], bool] | None) -> Iterator[Row]:
    plan = load(job)
    # Copies, as one object may stand there several times: each is known by its identity.
    given = pickle.loads(shard)
    targets = [copy(target) if isinstance(target, Target) else Target(target) for target in given]
    places = {id(target): number for number, target in enumerate(targets)}
    turns: Turns[Any] = Turns(replace(plan, function=partial(_guarded, plan.function)), iter(targets))
    try:
        turns.open()
        if stopped is not None:
            _heed(turns, stopped)
        while True:
            try:
                outcome = turns.next()
            except StopIteration:
                return
            yield _row(places[id(outcome.target)], outcome)
    finally:
        turns.close()


async def _guarded(function: Callable[..., Coroutine[Any, Any, Any]], talk: Any, *args: Any) -> Any:
    """The conversation; an exit of the process is a bug in it."""
    try:
        return await checked(function, function(talk, *args))
    except SystemExit as error:
        raise RuntimeError(f"the conversation raised {error!r}, which ends no worker") from error


def _heed(turns: Turns[Any], stopped: Callable[[], bool]) -> None:
    if stopped():
        turns.close()
    else:
        turns.executor.call_later(_HEED, _heed, turns, stopped, keeps_running=False)


def _row(place: int, outcome: Outcome[Any]) -> Row:
    error, cause = outcome.error, None
    if error is not None:
        if not isinstance(error, EvSocketsError):
            note = "in the worker:\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
            if note not in getattr(error, "__notes__", ()):  # one object may be raised again and again
                error.add_note(note)
        one: BaseException | None = error
        while one is not None and (one.__traceback__ or one.__context__):
            one.__traceback__ = one.__context__ = None
            one = one.__cause__
        if error.__cause__ is not None:
            error.__cause__ = cause = sendable(error.__cause__)
    return (
        place, outcome.result, error, outcome.attempts, outcome.bytes_sent, outcome.bytes_received,
        outcome.tls, outcome.remote_address, outcome.times, cause,
    )  # fmt: skip


def _alone(row: Row, dumps: Dumps) -> bytes:
    """One outcome as bytes: what of it cannot be pickled and loaded again is its error's text."""
    place, result, error, *rest, cause = row
    for value, what in ((result, "the result"), (error, "the error")):
        try:
            pickle.loads(dumps(value))
        except Exception as failure:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            text = f"{what} is a {kind}, which cannot be sent from a worker: {failure}; it is {_shown(value)}"
            return dumps((place, None, TypeError(text), *rest, None))
    return dumps((place, result, error, *rest, cause))


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except Exception as error:
        return f"without a repr ({error!r})"


def unpacked(data: bytes, targets: Sequence[Any]) -> tuple[list[Outcome[Any]], BaseException | None]:
    """Return the outcomes of a shard's `targets`, in the order of their ends, and the run's exception."""
    rows, failure = pickle.loads(data)
    outcomes, missing = [], dict(enumerate(targets))
    for row in rows:
        place, result, error, *rest, cause = pickle.loads(row) if isinstance(row, bytes) else row
        if cause is not None:
            error.__cause__ = cause
        outcomes.append(Outcome(_target(missing.pop(place)), result, error, *rest))
    if failure is None:
        outcomes += unbegun(missing.values(), ConversationEndedError, "the run was stopped before it began")
    return outcomes, failure


def unbegun(targets: Iterable[Any], kind: type[EvSocketsError], why: str) -> list[Outcome[Any]]:
    """An outcome for each, with an error of its own."""
    made = map(_target, targets)
    return [Outcome(target, error=kind(f"{target.address}: {why}")) for target in made]


def _target(target: Any) -> Target:
    return target if isinstance(target, Target) else Target(target)
