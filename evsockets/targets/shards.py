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

from ..conversations.operation import checked
from ..engines.base import Engine
from ..errors import ConversationEndedError, EvSocketsError
from ..pickles import pickled, sendable
from .outcomes import Outcome, Target
from .plans import Plan
from .turns import Turns

_HERE = "its class must be importable here as there, and load without the worker's own state"
# Seconds after which a running shard notices that it is to stop.
_HEED = 0.1

Dumps = Callable[[Any], bytes]

#: One outcome: its target's place in the shard, what was said (result, error and the error's cause), and the
#: other fields in order. What was said is bytes if loading it calls code that is not this library's: it may
#: fail for one outcome without spoiling the others.
Row = tuple[Any, ...]
# Results that always load.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


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
        for row in _rows(job, shard, stopped, dumps):
            rows.append(row)
    except BaseException as error:
        failure = sendable(error)
    return pickle.dumps((rows, pickle.dumps(failure)))


@lru_cache(maxsize=16)
def load(job: bytes) -> Plan:
    """The plan of the job: the same object each time within a process."""
    plan: Plan = pickle.loads(job)
    return plan


def _rows(job: bytes, shard: bytes, stopped: Callable[[], bool] | None, dumps: Dumps) -> Iterator[Row]:
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
            yield _row(places[id(outcome.target)], outcome, dumps)
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


def _row(place: int, outcome: Outcome[Any], dumps: Dumps) -> Row:
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
    said: Any = (outcome.result, error, cause)
    if error is not None or type(outcome.result) not in _PLAIN:
        said = _alone(said, dumps)
    return (
        place, said, outcome.attempts, outcome.bytes_sent, outcome.bytes_received, outcome.tls,
        outcome.remote_address, outcome.times,
    )  # fmt: skip


def _alone(said: tuple[Any, ...], dumps: Dumps) -> bytes:
    """What was said as bytes: what of it cannot be pickled and loaded again is its error's text."""
    try:
        data = dumps(said)
        pickle.loads(data)
    except Exception as failure:
        result, error, _ = said
        value, what = (result, "the result") if error is None else (error, "the error")
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        text = f"{what} is a {kind}, which cannot be sent from a worker: {failure}; it is {_shown(value)}"
        return pickle.dumps((None, TypeError(text), None))
    return data


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except Exception as error:
        return f"without a repr ({error!r})"


def unpacked(data: bytes, targets: Sequence[Any]) -> tuple[list[Outcome[Any]], BaseException | None]:
    """Return the outcomes of a shard's `targets`, in the order of their ends, and the run's exception."""
    rows, ended = pickle.loads(data)
    outcomes, missing = [], dict(enumerate(targets))
    for place, said, *rest in rows:
        result, error, cause = _loaded(said) if isinstance(said, bytes) else said
        if cause is not None:
            error.__cause__ = cause
        outcomes.append(Outcome(_target(missing.pop(place)), result, error, *rest))
    failure = _failure(ended)
    if failure is None:
        outcomes += unbegun(missing.values(), ConversationEndedError, "the run was stopped before it began")
    return outcomes, failure


def _loaded(said: bytes) -> tuple[Any, ...]:
    """What was said, or that it cannot be loaded here."""
    try:
        loaded: tuple[Any, ...] = pickle.loads(said)
    except Exception as why:
        text = f"a worker's result or error cannot be loaded in this process: {why!r}; {_HERE}"
        return None, TypeError(text), why.with_traceback(None)
    return loaded


def _failure(ended: bytes) -> BaseException | None:
    try:
        failure: BaseException | None = pickle.loads(ended)
    except Exception as why:
        text = f"a worker's run ended by an exception that cannot be loaded in this process: {why!r}; {_HERE}"
        return RuntimeError(text)
    return failure


def unbegun(targets: Iterable[Any], kind: type[EvSocketsError], why: str) -> list[Outcome[Any]]:
    """An outcome for each, with an error of its own."""
    made = map(_target, targets)
    return [Outcome(target, error=kind(f"{target.address}: {why}")) for target in made]


def _target(target: Any) -> Target:
    return target if isinstance(target, Target) else Target(target)
