"""The gevent engine: the hub's own loop, so that other greenlets run while `poll` waits.

How one poll goes. Every watch has one watcher on the hub's loop. `poll` starts those that are stopped,
notes the calling greenlet and switches to the hub. A watcher that fires only notes what fired. A check
watcher runs once at the end of each iteration of the hub and, if there is something to tell, switches
back. So:

- The caller resumes once per batch, after the whole iteration, not at the first watcher.
- What fires while nobody polls is stopped until the next poll: a handler that blocks cooperatively
  (`gevent.sleep`) with bytes unread costs one iteration, no spinning. Where one poll follows another, as
  it does in a busy executor, no watcher is stopped or started at all.
- What was noted before a poll began is not told but looked at anew: it may have been dealt with.
- Every poll, `poll(0)` too, goes through at least one iteration of the hub, so a busy executor cannot
  starve other greenlets.

The loop knows descriptors, not tokens, and the engine only weakly: one that nobody has any more goes, and
takes its watchers along.

Nothing written in Python runs for a single event. (Not so on gevent's cffi loops, libuv among them: there
any Python callback that a signal finds running loses what the signal handler raises, a check watcher's
above all, as it is the first to run after a wait was interrupted. On these loops the first watcher that
fires schedules the end of the iteration as a callback of the hub.)

No watcher holds a reference on the loop but while a poll waits, so an engine that lies idle does not keep
`gevent.wait()` or `hub.join()` from ending (libuv's I/O watchers cannot do without: there it does).
"""

from __future__ import annotations

import errno
import os
import sys
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from evsockets.engines.base import READ, WRITE, Engine, WatchError
from evsockets.errors import EngineError

from .blocking import BlockingCalls

_BOTH = READ | WRITE
_GONE = 0, 0  # what the descriptor of a loop stands for that was closed
_SIGNALS_EVERY = 50  # milliseconds, where the loop has to be woken for them (libuv)


class _Watch:
    """One descriptor: what is asked for, and its watcher once a poll needed one."""

    __slots__ = ("fd", "interest", "news", "token", "watcher")

    def __init__(self, fd: int, interest: int, token: Any) -> None:
        self.fd = fd
        self.interest = interest
        self.token = token
        self.news = token, interest  # what a poll tells of it, if that is clear beforehand
        self.watcher: Any = None


class GeventEngine(Engine):
    """Readiness from the hub of the greenlet that polls (libev or libuv loop).

    If another thread polls, the engine uses that thread's hub. `poll` raises RuntimeError in the hub itself.
    After a greenlet was killed, or left by a `gevent.Timeout`, during a poll the engine can be used again.
    """

    name = "gevent"
    runs_others = True

    @classmethod
    def available(cls) -> str | None:
        """See `Engine.available`."""
        try:
            import gevent.hub
        except ImportError as error:
            return f"gevent cannot be imported ({error}); install it with: pip install gevent"
        try:
            _ = gevent.config.loop  # imports what GEVENT_LOOP names
        except (ImportError, ValueError) as error:
            missing = "cffi" in str(getattr(error, "name", ""))
            cure = "install it with: pip install cffi" if missing else "look at GEVENT_LOOP"
            return f"gevent's loop cannot be loaded ({error}); {cure}"
        return None

    def __init__(self) -> None:
        import gevent
        from gevent.hub import get_hub
        from gevent.monkey import get_original

        self._get_hub: Callable[[], Any] = get_hub
        self._getcurrent: Callable[[], Any] = gevent.getcurrent
        self._get_ident: Callable[[], int] = get_original("_thread", "get_ident")
        self._hub: Any = None
        self._home: Any = None  # the same hub, once all is ready there
        self._watches: dict[int, _Watch] = {}
        self._stopped: dict[_Watch, None] = {}  # to be started by the next poll
        self._fresh: list[_Watch] = []  # started since the last poll: the loop may have had to give them up
        # The descriptors the loop noted in this iteration; the second where the events have to be looked at.
        self._fired: list[int] = []
        self._masks: dict[int, int] = {}
        self._waiting: Any = None  # the greenlet inside poll
        self._resuming = False  # whether the hub is inside `_end_of_iteration`, having switched to a poller
        self._rounds = -1  # iterations left until poll returns in any case; -1: no such limit
        self._expired = False
        self._settling = 0  # iterations left until the kernel knows of every new watcher
        self._due, self._shortest = 0.0, 0.001
        self._timer: Any = None
        self._kernel: tuple[int, int] | None = None
        self._native = True  # the compiled libev loop
        self._scheduled: Any = None  # on others: the call that is the end of the iteration
        self._keeper: Any = None  # holds a reference on the loop while a poll waits
        self._idle: Any = None
        self._blocking = BlockingCalls()
        self._closed = False

    @property
    def notices_signals(self) -> bool:
        """Whether signals must not wake it through a watcher: gevent loses what a signal handler raises if
        one of libuv's I/O callbacks is the first to run after the signal; its timer does not."""
        return "libuv" in type(self._get_hub().loop).__module__

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """See `Engine.watch`."""
        if fd < 0:
            raise OSError(errno.EBADF, f"not a descriptor: {fd}")
        if self._closed:
            raise RuntimeError("this engine is closed")
        if not 0 <= interest <= _BOTH:
            raise ValueError(f"interest must be 0, READ, WRITE or both, not {interest!r}")
        if interest:
            os.get_blocking(fd)  # an OSError for a bad one: the loop finds out too late
        # A signal handler may raise at any line. So a watcher is always known here while it is started: an
        # unknown one that outlives its descriptor fails an assertion of libev's.
        known = self._watches.get(fd)
        watcher = None if known is None else self._forget(known)
        if interest:
            watch = _Watch(fd, interest, token)
            if watcher is not None:
                # Set anew even to what it is: that tells libev that the number may be another file by now.
                watcher.events = interest
                watch.watcher = watcher
            self._watches[fd] = watch
            self._stopped[watch] = None
            if self._waiting is not None:  # another greenlet waits in poll just now
                self._start(watch)
                self._stopped.pop(watch, None)
                self._settle()
        else:
            self._watches.pop(fd, None)

    def _forget(self, watch: _Watch) -> Any:
        """Stop it; its watcher if that can be used again."""
        watcher = watch.watcher
        if watcher is not None:
            watcher.stop()
            if not self._native:
                watcher.close()
                watch.watcher = watcher = None
        self._stopped.pop(watch, None)
        self._masks.pop(watch.fd, None)
        if watch.fd in self._fired:
            self._fired.remove(watch.fd)
        return watcher

    def _start(self, watch: _Watch) -> None:
        if watch.watcher is None:
            try:
                watch.watcher = self._hub.loop.io(watch.fd, watch.interest, ref=False)
            except (OSError, ValueError):
                # Closed without being forgotten: vanishes, as it does with epoll. Else refused.
                self._fresh.append(watch)
                return
        if not self._native:
            watch.watcher.start(partial(_weakly(self._note), watch.fd), pass_events=True)
        elif watch.interest == _BOTH:
            watch.watcher.start(partial(self._masks.__setitem__, watch.fd), pass_events=True)
        else:
            watch.watcher.start(self._fired.append, watch.fd)
        self._fresh.append(watch)

    def _settle(self) -> None:
        """Keep the loop from waiting until it has told the kernel of the new watchers: it would not wake up
        for one that is refused. See `poll` for how many ends of an iteration that takes."""
        self._settling = 1 if self._resuming else 2
        self._idle.start(dict if self._native else self._schedule)  # any callable in C will do

    def _check_fresh(self) -> None:
        """A watch that the system refuses loses its watcher, and libev says no more."""
        refused = []
        for watch in self._fresh:
            if self._watches.get(watch.fd) is watch and watch not in self._stopped and not _is_alive(watch):
                refused.append(watch)
        for watch in refused:
            self._forget(watch)
            self._watches.pop(watch.fd, None)
        self._fresh.clear()
        refused = [watch for watch in refused if _is_open(watch.fd)]
        if refused:
            raise WatchError.about(refused[0].fd, [watch.token for watch in refused])

    def _find_stopped(self) -> None:
        """gevent stops a watcher in whose callback a signal handler raises, and may keep that to itself."""
        for fd in (*self._fired, *self._masks):
            watch = self._watches[fd]
            if watch.watcher is not None and not watch.watcher.active:
                self._stopped[watch] = None

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`. Other greenlets run meanwhile, also with `poll(0)`."""
        if self._closed:
            raise RuntimeError("this engine is closed")
        hub = self._get_hub()
        current = self._getcurrent()
        if current is hub:
            raise RuntimeError("poll was called in the hub, which must not wait; call it in a greenlet")
        if self._waiting is not None:
            raise RuntimeError("another greenlet waits in this engine's poll")
        if hub is not self._home:
            self._move_to(hub)
        self._find_stopped()  # of a poll that was interrupted
        if self._stopped:
            # Told of a new watcher, libev would abort the process.
            if _kernel_object(hub.loop) not in (self._kernel, None):
                bad = OSError(errno.EBADF, "the descriptor of gevent's loop was closed by somebody else")
                raise EngineError(f"gevent's hub cannot wait: {bad}") from bad
            for watch in self._stopped:
                self._start(watch)
            self._stopped.clear()
        watches, fired, masks = self._watches, self._fired, self._masks
        fired.clear()
        masks.clear()
        self._expired = False
        try:
            if timeout == 0:
                # Two ends of an iteration, unless the last one lies just behind: the first may be that of
                # one which asked the kernel before the starts above.
                self._rounds = 1 if self._resuming else 2
                self._settling = 0
                # Keeps the loop from blocking; on the native loop any callable in C will do.
                self._idle.start(dict if self._native else self._schedule)
            else:
                self._rounds = -1
                if self._fresh:
                    self._settle()
                elif self._idle.active:
                    self._idle.stop()
                if timeout is not None:
                    self._arm(timeout)
            self._waiting = current
            self._keeper.ref = True
            hub.switch()
            self._waiting = None
            if not self._closed:
                self._keeper.ref = False
                if timeout == 0 or self._settling:
                    self._settling = 0
                    self._idle.stop()
        except BaseException as error:
            # What another interrupt keeps from being done here the next poll does.
            self._waiting = None
            if self._home is not None:
                self._idle.stop()
                self._keeper.ref = False
            if isinstance(error, SystemError) and "(libev) " in str(error):  # else somebody threw it at us
                raise EngineError(f"gevent's hub cannot wait: {error}") from _as_os_error(error)
            raise
        if self._fresh:
            self._check_fresh()
        batch = [watches[fd].news for fd in fired]
        self._find_stopped()
        fired.clear()
        if masks:
            for fd, events in masks.items():
                watch = watches[fd]
                # libuv tells hang-ups by a bit of its own, and errors by negative numbers: everything.
                batch.append((watch.token, (events > 0 and events & watch.interest) or watch.interest))
                if events < 0:  # and it has stopped the watcher, unlike libev
                    self._stopped[watch] = None
                    watch.watcher.stop()
            masks.clear()
        return batch

    def _arm(self, timeout: float) -> None:
        """One timer stays armed and is moved only when a poll must end sooner."""
        until = (now := time.monotonic()) + timeout
        if now < self._due <= until:
            return
        self._due = 0.0  # until the new one is started
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        # libuv has no shorter timers than its resolution, and warns of them.
        self._timer = self._hub.loop.timer(max(timeout, self._shortest), ref=False)
        self._timer.start(_weakly(self._timed_out), update=True)
        self._due = until

    def _timed_out(self) -> None:
        self._due = 0.0
        self._expired = True
        if not self._native:
            self._schedule()

    def _note(self, fd: int, events: int) -> None:
        self._masks[fd] = events
        self._schedule()

    def _schedule(self) -> None:
        scheduled = self._scheduled
        if self._hub is not None and (scheduled is None or not scheduled.pending):
            self._scheduled = self._hub.loop.run_callback(self._end_of_iteration)

    def _end_of_iteration(self) -> None:
        """Runs in the hub: switch to the poller if there is something to tell; without one, stop what
        fired."""
        poller = self._waiting
        if poller is None:
            if self._fired or self._masks:
                for fd in (*self._fired, *self._masks):
                    watch = self._watches[fd]
                    self._stopped[watch] = None
                    watch.watcher.stop()
                self._fired.clear()
                self._masks.clear()
            return
        if self._rounds > 0:
            self._rounds -= 1
        if self._settling:
            self._settling -= 1
            if not self._settling:
                self._idle.stop()
                self._expired = self._expired or not all(map(_is_alive, self._fresh))
        if self._fired or self._masks or self._rounds == 0 or self._expired:
            self._waiting = None
            self._resuming = self._native
            try:
                poller.switch()
            finally:
                self._resuming = False

    def _move_to(self, hub: Any) -> None:
        """Leave the hub polled in so far, if any, for that of the calling thread."""
        self._home = None
        if self._hub is not None:
            self._leave()
        self._hub = hub
        loop = hub.loop
        self._native = type(loop).__module__ == "gevent.libev.corecext"
        self._scheduled = None
        if self._native:
            # The lowest priority: other greenlets' events of one iteration come before the switch.
            self._keeper = loop.check(ref=False, priority=loop.MINPRI)
            self._keeper.start(_weakly(self._end_of_iteration))
        else:
            self._keeper = loop.async_(ref=False)  # never sent
            self._keeper.start(dict)
        self._idle = loop.idle(ref=False)
        self._shortest = float(getattr(loop, "approx_timer_resolution", 0.001))
        self._kernel = _kernel_object(loop)
        if self._kernel == _GONE:
            self._kernel = None
        _look_at_signals(loop)
        _tell_the_right_hub(loop)
        self._due = 0.0
        self._stopped = dict.fromkeys(self._watches.values())
        self._home = hub

    def _leave(self) -> None:
        """Give back every watcher, in the thread they belong to."""
        watchers = [self._keeper, self._idle, self._timer, *(one.watcher for one in self._watches.values())]
        self._fired.clear()
        self._masks.clear()
        close = partial(_close_all, [watcher for watcher in watchers if watcher is not None])
        if self._hub.thread_ident == self._get_ident():
            close()
        elif not self._hub.dead and self._hub.loop is not None:
            self._hub.loop.run_callback_threadsafe(close)
        for watch in self._watches.values():
            watch.watcher = None
        self._keeper = self._idle = self._timer = None

    def run_blocking(self, function: Callable[[], Any], done: Callable[[Any], object]) -> None:
        """See `BlockingCalls.run`; RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("this engine is closed")
        self._blocking.run(function, done)

    def close(self) -> None:
        """See `Engine.close`. Pending name resolutions are abandoned."""
        self._closed = True
        if self._waiting is not None and self._hub is not None:
            self._hub.loop.run_callback(self._waiting.switch)
        if self._hub is not None:
            self._leave()
        self._blocking.close()
        self._watches.clear()
        self._stopped.clear()
        self._home = self._hub = None

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()


def _as_os_error(error: SystemError) -> OSError:
    """gevent tells a system call's error in words only."""
    words = str(error).rpartition(": ")[2]
    numbers = {os.strerror(number): number for number in errno.errorcode}
    return OSError(numbers.get(words), str(error))


def _is_alive(watch: _Watch) -> bool:
    return watch.watcher is not None and bool(watch.watcher.active)


def _is_open(fd: int) -> bool:
    try:
        os.get_blocking(fd)
    except OSError:
        return False
    return True


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """`method` for as long as there is somebody who has its object."""
    find = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        found = find()
        if found is not None:
            found(*args)

    return call


def _close_all(watchers: list[Any]) -> None:
    for watcher in watchers:
        watcher.stop()
        watcher.close()


def _kernel_object(loop: Any) -> tuple[int, int] | None:
    """What the descriptor of a loop stands for; None without one."""
    try:
        number = loop.fileno()
        if number is None or number < 0:
            return None
        found = os.fstat(number)
    except OSError:
        return _GONE
    return found.st_dev, found.st_ino


def _tell_the_right_hub(loop: Any) -> None:
    """Have the hub whose wait has failed raise that. gevent asks one hub for all threads, which cannot reach
    another thread's greenlets, and libev then aborts the process."""
    set_callback = getattr(sys.modules[type(loop).__module__], "set_syserr_cb", None)
    if set_callback is not None:
        set_callback(_wait_failed)


def _wait_failed(message: bytes, number: int) -> None:
    loop = getattr(sys.modules["greenlet"].getcurrent(), "loop", None)
    if loop is not None:  # else a loop without a hub, whose owner is to look after it
        loop._handle_syserr(message, number)


def _look_at_signals(loop: Any) -> None:
    """Let a libuv hub notice Ctrl-C within 0.05 s instead of gevent's 0.3 s.

    gevent has a timer for that, and only in its callback does an exception reach the greenlets.
    """
    timer = getattr(loop, "_signal_idle", None)
    if timer is None:
        return
    try:
        from gevent.libuv.loop import ffi, libuv

        look = ffi.cast("void(*)(uv_timer_t*)", libuv.python_check_callback)
        libuv.uv_timer_start(timer, look, _SIGNALS_EVERY, _SIGNALS_EVERY)
    except (ImportError, AttributeError):
        pass  # another gevent: 0.3 s it is
