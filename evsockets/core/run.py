"""The event loop: a run, its turns (admit, poll, step the ready, expire the late), stop and abort.

However it ends, every life that began in it is ended.

The order within a turn is the product. First thread-safe callbacks and whatever may start; then the
engine is asked, waiting no longer than the earliest deadline; then the clock is read, and each ready
channel's stepper takes one step; then those whose bytes no descriptor announces (`ready`). The clock
is read again, and what became pending meanwhile counts from there. Last come those whose deadline had
passed when the engine was asked, timers among them: I/O is thus looked at before a time-out is declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..context import ExecutionContext
from ..validation import check_flag
from . import closing, interest, outbox
from .deadlines import AT_ONCE, INFINITY, UNTIL_STOPPED
from .out_of_band import dispatch_out_of_band
from .raised import empty_frames, later, noted
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel
    from .loop import Loop

_LONGEST_WAIT = 86_400.0
# Seconds for which what the engine told is taken for what is so.
_FRESH = 0.001
# Read by these names they cost compiled code no look-up.
_NEVER, _AT_ONCE, _NOBODY = INFINITY, AT_ONCE, list[Any]()


def part(loop: Loop, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a part of a run. What it raises, a signal handler's exception at any of its lines too, ends
    the run. The outer `except` is for what interrupts the inner one."""
    try:
        try:
            return call(loop, *arguments)
        except BaseException as error:
            abort(loop, error)
            raise
    except BaseException as error:
        abort(loop, error)
        raise


def execute(loop: Loop, context: Any, until_stopped: bool) -> None:
    """A whole run."""
    begin(loop, context, until_stopped)
    loop.turns_taken_by_us = True
    loop.waker.hear_signals()
    while take_turn(loop, None):
        pass
    loop.waker.ignore_signals()


def begin(loop: Loop, context: Any, until_stopped: bool = False) -> None:
    """Begin a run: who has not started yet waits in line, in the order added."""
    check_flag("until_stopped", until_stopped)
    loop.reset()  # where the end of the run before was interrupted
    if until_stopped:
        loop.deadlines.keepers.add(UNTIL_STOPPED)
    loop.context = context if isinstance(context, ExecutionContext) else ExecutionContext(context or {})
    loop.wall_offset = time.time() - loop.now
    loop.turns_taken_by_us = False
    loop.thread_id = loop.ident()
    for channel in loop.channels():
        if channel.phase is Phase.WAITING:
            loop.admission.enqueue(channel)
    loop.waker.begin()
    # In one line: `finalize` is called if `initialize` was, wherever a signal handler raises.
    loop.executing = True; loop.solver.initialize(loop.executor, loop.context)  # fmt: skip # noqa: E702


def take_turn(loop: Loop, timeout: float | None) -> bool:
    """Take one turn; whether work remains. False: the run is over."""
    loop.in_turn = True
    _turn(loop, timeout)
    if loop.stopping:
        _end_all(loop)
    if loop.callbacks and (loop.stopping or not loop.has_work()):
        loop.call_callbacks()  # posted by the last events
    if not loop.stopping and loop.has_work():
        loop.in_turn = False
        loop.current = None
        return True
    loop.check_fork()
    loop.executing = False; loop.solver.finalize(loop.executor, loop.context)  # fmt: skip # noqa: E702
    loop.reset()
    loop.check_fork()
    return False


def _turn(loop: Loop, timeout: float | None) -> None:
    if loop.callbacks:
        loop.call_callbacks()
    if loop.interrupt and loop.end_cancelled():
        return
    admission = loop.admission
    if admission.waiting and admission.due() <= loop.time.read():
        loop.now = loop.turn_time.when = loop.time.read()
        admission.admit()
        if loop.interrupt and loop.end_cancelled():
            return
        loop.update_time()
    when = loop.due()
    if when == _AT_ONCE:
        if not (loop.callbacks or loop.has_work()):
            return
        timeout = 0.0
    elif when != _NEVER:
        wait = when - loop.time.read()
        if timeout is None or wait < timeout:
            timeout = wait if wait > 0.0 else 0.0
    if timeout is not None and timeout > _LONGEST_WAIT:
        timeout = _LONGEST_WAIT
    loop.current = None  # also tells that no handler of ours is running: see wake_if_hosted()
    try:
        batch = loop.engine.poll(timeout)
    except Exception as error:
        batch = loop.poll_failed(error)
    ready = loop.ready
    if ready:
        loop.ready = []  # what is queued from here on belongs to the next turn
    else:
        ready = _NOBODY
    now = loop.time.read()
    loop.now = now
    loop.turn_time.when = now
    if when <= now and loop.deadlines.lift(now):
        batch = _all_ready(loop, batch)
    if loop.oob_poller_type and (batch or ready):
        dispatch_out_of_band(loop, [token for token, _mask in batch] + ready)
    # With gevent another greenlet may have asked for it while the engine was asked.
    if loop.interrupt and loop.end_cancelled():
        return
    for token, mask in batch:
        stepper = token.stepper
        if stepper is None:  # closed earlier in this batch
            continue
        loop.current = token
        try:
            following = stepper.step(token, mask)
            if following is not token.stepper:
                token.advance(following)
            elif token.indirect or (following is not None and token.watched != following.interest):
                interest.update(token)
        except BaseException as error:
            loop.handle_error(token.channel, error)
        if loop.interrupt and loop.end_cancelled():
            return
    for channel in ready:
        channel.queued = False
        if channel.stepper is not None:
            loop.call_for(channel, interest.step, channel, channel.stepper.interest)
        if loop.interrupt and loop.end_cancelled():
            return
    if loop.callbacks:
        loop.call_callbacks()
        if loop.interrupt and loop.end_cancelled():
            return
    loop.update_time()
    if loop.deadlines.next() <= now:
        _expire(loop, now)
        if loop.stopping:
            return
    if loop.active_sockets:
        _ask_delayed(loop)
        loop.update_time()
    if loop.posters:
        outbox.send_posts(loop)


def _all_ready(loop: Loop, batch: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """`batch` and whoever did not fit into it: after a long stall many are ready, and an engine tells a
    bounded number at a time. What has arrived is looked at before a time-out is declared."""
    known = {id(token) for token, _ in batch}
    try:
        while more := [pair for pair in loop.engine.poll(0.0) if id(pair[0]) not in known]:
            batch = [*batch, *more]
            known.update(id(token) for token, _ in more)
    except Exception as error:
        loop.poll_failed(error)
    return batch


def _expire(loop: Loop, now: float) -> None:
    """Act on what was late at `now`, when the engine was asked.

    Where handlers have taken time since, the engine is asked again before, and after a slow TIMEOUT
    handler or timer the rest waits for the next turn: what has arrived meanwhile is looked at first.
    """
    deadlines = loop.deadlines
    arrived: dict[Any, list[tuple[Any, int]]] = {}
    loop.current = None
    if loop.clock() - now > _FRESH and deadlines.lift(now):
        for token, mask in _all_ready(loop, []):
            arrived.setdefault(token.channel, []).append((token, mask))
    asked = loop.clock()
    # With gevent another greenlet may have asked for it while the engine was asked.
    while not (loop.interrupt and loop.end_cancelled()):
        first = deadlines.first()
        if first is None or first._armed > now:
            break
        first._late(arrived.pop(first, ()), now)
        if loop.clock() - asked > _FRESH:
            break
    loop.update_time()


def _ask_delayed(loop: Loop) -> None:
    active_sockets, loop.active_sockets = loop.active_sockets, set()
    for channel in list(loop.delayed):
        if channel in loop.delayed and (len(active_sockets) > 1 or channel not in active_sockets):
            loop.call_for(channel, _ask, channel)
            if loop.interrupt and loop.end_cancelled():
                return


def _ask(channel: Channel) -> None:
    operation: Any = channel.operation
    channel.go_on(operation.start(channel))


def _end_all(loop: Loop) -> None:
    """Stopped: every started socket ends; a later exception is a note on the first."""
    if loop.draining is not None:
        loop.draining.cut_short("when the run was stopped")
    first: BaseException | None = None
    for channel in loop.running():
        try:
            closing.end(channel)
        except BaseException as error:
            first = later(first, channel, error)
    loop.to_end.clear()
    if first is not None:
        raise first


def abort(loop: Loop, error: BaseException) -> None:
    """An exception leaves the run: everything started ends, all sockets are complete. What is raised
    meanwhile is a note on the exception, and it goes on; done already, it does nothing."""
    over = False
    while not over:
        try:
            _wind_up(loop, error)
            empty_frames(error)
            over = True
        except BaseException as raised:
            noted(error, raised, "while ending the run")


def _wind_up(loop: Loop, error: BaseException) -> None:
    loop.waker.ignore_signals()
    if loop.is_inherited:
        disown(loop)
    if loop.thread_id is None:
        return
    loop.in_turn = loop.stopping = loop.interrupt = True
    if loop.draining is not None:
        loop.draining.cut_short(f"when the run ended by {error!r}")
    while channels := loop.channels():
        for channel in channels:
            try:
                closing.finish(channel)
            except BaseException as raised:
                later(error, channel, raised)
    if loop.executing:
        try:
            loop.executing = False; loop.solver.finalize(loop.executor, loop.context)  # fmt: skip # noqa: E702
        except BaseException as raised:
            noted(error, raised, "in the limitation solver")
    loop.reset()


def disown(loop: Loop) -> None:
    """In the child of a fork the run is over: close the copies."""
    for channel in loop.channels():
        if channel.transport is not None:
            channel.transport.abort()
        channel.socket._drop()
        channel.phase = Phase.COMPLETE
    loop.reset()


def stop(loop: Loop) -> None:
    """End the run; from anywhere."""
    if not loop.executing:
        raise RuntimeError("the executor is not executing")
    loop.stopping = loop.interrupt = True
    loop.waker.wake()
