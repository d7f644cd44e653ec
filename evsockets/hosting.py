"""Runs inside another loop: turn by turn, or inside a running asyncio loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core import run
from .errors import UnsupportedOperationError
from .validation import check_timeout

if TYPE_CHECKING:
    import asyncio

    from .core.loop import Loop


def turn(loop: Loop, timeout: float | None) -> bool:
    """See `RequestExecutor.turn`."""
    if timeout is not None and timeout != 0:  # hosts mostly take turns without waiting
        timeout = check_timeout("timeout", timeout)
    if not loop.executing:
        raise RuntimeError("no run is on: start_request() begins one")
    loop.check_thread()
    if loop.in_turn:
        raise RuntimeError("turn() cannot be called from inside a turn")
    return bool(run.part(loop, run.take_turn, timeout))


def fileno(loop: Loop) -> int:
    """See `RequestExecutor.fileno`."""
    loop.check_thread()
    descriptor = getattr(loop.engine, "fileno", None)
    if descriptor is None:
        raise UnsupportedOperationError(f"the engine {loop.engine.name!r} has no descriptor to wait for")
    return int(descriptor())


async def run_in_asyncio(loop: Loop, context: Any, until_stopped: bool = False) -> None:
    """A whole run. asyncio's loop watches the engine's descriptor; every turn is `turn(0)`."""
    import asyncio  # imported here: it is loaded where this runs, and elsewhere it would cost every start

    host = asyncio.get_running_loop()
    descriptor = fileno(loop)
    loop.check_idle()
    done: asyncio.Future[None] = host.create_future()
    timer: asyncio.Handle | None = None

    def take_turn() -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
            timer = None
        if done.done():
            return
        if not loop.executing:  # the last turn was taken elsewhere
            done.set_result(None)
            return
        try:
            more = turn(loop, 0)
        except (KeyboardInterrupt, SystemExit) as error:
            if not done.done():
                done.set_exception(RuntimeError(f"the run was ended by {error!r}"))
                done.exception()
            raise
        except BaseException as error:
            if not done.done():
                if isinstance(error, StopIteration):
                    wrapped = RuntimeError("a handler raised StopIteration")
                    wrapped.__cause__ = error
                    done.set_exception(wrapped)
                else:
                    done.set_exception(error)
            return
        if not more:
            if not done.done():  # a handler may have cancelled the await
                done.set_result(None)
            return
        patience = loop.patience()  # inexact: one turn too many costs less than exactness after every turn
        if patience == 0:
            timer = host.call_soon(take_turn)
        elif patience is not None:
            timer = host.call_later(patience, take_turn)

    def end(error: BaseException) -> None:
        """End the run for `error`. It can be called again after an interruption."""
        if loop.executing:
            run.abort(loop, error)
        leave()

    def leave() -> None:
        if not loop.is_inherited:  # in the child of a fork the host's descriptors are the parent's
            host.remove_reader(descriptor)
        if timer is not None:
            timer.cancel()

    try:
        try:
            run.part(loop, run.begin, context, until_stopped)
            loop.turns_taken_by_us = True
            host.add_reader(descriptor, take_turn)
            timer = host.call_soon(take_turn)
            await done
            leave()
        except BaseException as error:
            end(error)
            raise
    except BaseException as error:  # what interrupts the lines above
        end(error)
        raise
