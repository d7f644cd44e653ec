# cython: language_level=3, binding=False, embedsignature=True, auto_pickle=False
"""libev's loops and watchers as Python objects.

The lock is held while libev runs. It is given up in one place only, libev's own hooks around the wait, so
everything else here may touch Python objects. What must be reachable without it is in `Core`, plain C.
"""

import io as _io
import os as _os

from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc cimport errno as c_errno
from libc.math cimport INFINITY, isinf, isnan
from libc.stdio cimport perror
from libc.stdlib cimport abort
from libc.string cimport memset, strstr
from posix.signal cimport sigaction, sigaction_t


cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    PyThreadState *PyEval_SaveThread() noexcept nogil
    void PyEval_RestoreThread(PyThreadState *state) noexcept nogil
    void PyErr_SetObject(object kind, object value) noexcept
    void PyErr_WriteUnraisable(object where) noexcept
    void PyErr_Clear() noexcept
    int PyList_Append(object list, object item) noexcept

cdef extern from "signal.h" nogil:
    enum:
        NSIG
        SIGCHLD

cdef extern from "time.h" nogil:
    ctypedef int clockid_t
    struct timespec:
        long tv_sec
        long tv_nsec
    clockid_t CLOCK_MONOTONIC
    int clock_gettime(clockid_t clock, timespec *found)

cdef extern from "fcntl.h" nogil:
    int O_RDONLY
    int O_CLOEXEC
    int c_open "open"(const char *path, int flags)
    int F_GETFD
    int fcntl(int number, int command)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int number)

cdef extern from "sys/stat.h" nogil:
    struct c_stat "stat":
        unsigned long long st_dev
        unsigned long long st_rdev
        unsigned long long st_ino
        long long st_size
        unsigned long long st_nlink
        unsigned int st_mode
        unsigned int st_uid
        unsigned int st_gid
        long long st_atime
        long long st_mtime
        long long st_ctime
    int fstat(int number, c_stat *found)

cdef extern from "ev.h":
    struct ev_loop:
        pass
    ctypedef struct ev_watcher:
        int priority
        void *data
    ctypedef struct ev_io:
        int fd
        int events
    ctypedef struct ev_timer:
        double repeat
    ctypedef struct ev_periodic:
        double offset
        double interval
        void *data
        double (*reschedule_cb)(ev_periodic *, double) noexcept
    ctypedef struct ev_signal:
        int signum
    ctypedef struct ev_child:
        int pid
        int rpid
        int rstatus
    ctypedef struct ev_stat:
        double interval
        const char *path
        c_stat attr
        c_stat prev
    ctypedef struct ev_idle:
        pass
    ctypedef struct ev_prepare:
        pass
    ctypedef struct ev_check:
        pass
    ctypedef struct ev_embed:
        ev_loop *other
        ev_io io
    ctypedef struct ev_fork:
        pass
    ctypedef struct ev_async:
        pass

    enum:
        EV_VERSION_MAJOR
        EV_VERSION_MINOR
        _EV_MINPRI "EV_MINPRI"
        _EV_MAXPRI "EV_MAXPRI"
        _EV_READ "EV_READ"
        _EV_WRITE "EV_WRITE"
        _EV_TIMER "EV_TIMER"
        _EV_PERIODIC "EV_PERIODIC"
        _EV_SIGNAL "EV_SIGNAL"
        _EV_CHILD "EV_CHILD"
        _EV_STAT "EV_STAT"
        _EV_IDLE "EV_IDLE"
        _EV_PREPARE "EV_PREPARE"
        _EV_CHECK "EV_CHECK"
        _EV_EMBED "EV_EMBED"
        _EV_FORK "EV_FORK"
        _EV_ASYNC "EV_ASYNC"
        _EV_CUSTOM "EV_CUSTOM"
        _EV_ERROR "EV_ERROR"
        _EVFLAG_AUTO "EVFLAG_AUTO"
        _EVFLAG_NOENV "EVFLAG_NOENV"
        _EVFLAG_FORKCHECK "EVFLAG_FORKCHECK"
        _EVFLAG_NOINOTIFY "EVFLAG_NOINOTIFY"
        _EVFLAG_SIGNALFD "EVFLAG_SIGNALFD"
        _EVFLAG_NOSIGMASK "EVFLAG_NOSIGMASK"
        _EVBACKEND_SELECT "EVBACKEND_SELECT"
        _EVBACKEND_POLL "EVBACKEND_POLL"
        _EVBACKEND_EPOLL "EVBACKEND_EPOLL"
        _EVBACKEND_KQUEUE "EVBACKEND_KQUEUE"
        _EVBACKEND_DEVPOLL "EVBACKEND_DEVPOLL"
        _EVBACKEND_PORT "EVBACKEND_PORT"
        _EVBACKEND_ALL "EVBACKEND_ALL"
        _EVBACKEND_MASK "EVBACKEND_MASK"
        _EVRUN_NOWAIT "EVRUN_NOWAIT"
        _EVRUN_ONCE "EVRUN_ONCE"
        _EVBREAK_CANCEL "EVBREAK_CANCEL"
        _EVBREAK_ONE "EVBREAK_ONE"
        _EVBREAK_ALL "EVBREAK_ALL"

    ctypedef void (*ev_cb_t)(ev_loop *, ev_watcher *, int) noexcept
    ctypedef void (*ev_timer_cb_t)(ev_loop *, ev_timer *, int) noexcept
    ctypedef void (*ev_hook_t)(ev_loop *) noexcept nogil

    int ev_version_major()
    int ev_version_minor()
    unsigned int ev_supported_backends()
    unsigned int ev_recommended_backends()
    unsigned int ev_embeddable_backends()
    double ev_time()
    void ev_sleep(double delay) nogil
    void ev_set_syserr_cb(void (*cb)(const char *) noexcept)
    ev_loop *ev_default_loop(unsigned int flags)
    ev_loop *ev_loop_new(unsigned int flags)
    void ev_loop_destroy(ev_loop *)
    void ev_loop_fork(ev_loop *)
    unsigned int ev_backend(ev_loop *)
    double ev_now(ev_loop *)
    void ev_now_update(ev_loop *)
    void ev_suspend(ev_loop *)
    void ev_resume(ev_loop *)
    int ev_run(ev_loop *, int flags)
    void ev_break(ev_loop *, int how)
    void ev_ref(ev_loop *)
    void ev_unref(ev_loop *)
    void ev_verify(ev_loop *)
    void ev_invoke_pending(ev_loop *)
    unsigned int ev_iteration(ev_loop *)
    unsigned int ev_depth(ev_loop *)
    unsigned int ev_pending_count(ev_loop *)
    void ev_set_io_collect_interval(ev_loop *, double)
    void ev_set_timeout_collect_interval(ev_loop *, double)
    void ev_set_userdata(ev_loop *, void *)
    void *ev_userdata(ev_loop *) noexcept nogil
    void ev_set_invoke_pending_cb(ev_loop *, void (*cb)(ev_loop *) noexcept)
    void ev_set_loop_release_cb(ev_loop *, ev_hook_t release, ev_hook_t acquire)

    void ev_init(ev_watcher *, ev_cb_t)
    void ev_timer_init(ev_timer *, ev_timer_cb_t, double, double)
    void ev_embed_init(ev_embed *, void *, ev_loop *)
    bint ev_is_active(void *)
    bint ev_is_pending(void *)
    void ev_set_priority(void *, int)
    int ev_priority(void *)
    void ev_feed_event(ev_loop *, void *, int)
    int ev_clear_pending(ev_loop *, void *)
    void ev_feed_signal(int) nogil

    void ev_io_set(ev_io *, int, int)
    void ev_io_start(ev_loop *, ev_io *)
    void ev_io_stop(ev_loop *, ev_io *)
    void ev_timer_set(ev_timer *, double, double)
    void ev_timer_start(ev_loop *, ev_timer *)
    void ev_timer_stop(ev_loop *, ev_timer *)
    void ev_timer_again(ev_loop *, ev_timer *)
    double ev_timer_remaining(ev_loop *, ev_timer *)
    void ev_periodic_set(ev_periodic *, double, double, void *)
    void ev_periodic_start(ev_loop *, ev_periodic *)
    void ev_periodic_stop(ev_loop *, ev_periodic *)
    void ev_periodic_again(ev_loop *, ev_periodic *)
    double ev_periodic_at(ev_periodic *)
    void ev_signal_set(ev_signal *, int)
    void ev_signal_start(ev_loop *, ev_signal *)
    void ev_signal_stop(ev_loop *, ev_signal *)
    void ev_child_set(ev_child *, int, int)
    void ev_child_start(ev_loop *, ev_child *)
    void ev_child_stop(ev_loop *, ev_child *)
    void ev_stat_set(ev_stat *, const char *, double)
    void ev_stat_start(ev_loop *, ev_stat *)
    void ev_stat_stop(ev_loop *, ev_stat *)
    void ev_stat_stat(ev_loop *, ev_stat *)
    void ev_idle_start(ev_loop *, ev_idle *)
    void ev_idle_stop(ev_loop *, ev_idle *)
    void ev_prepare_start(ev_loop *, ev_prepare *)
    void ev_prepare_stop(ev_loop *, ev_prepare *)
    void ev_check_start(ev_loop *, ev_check *)
    void ev_check_stop(ev_loop *, ev_check *)
    void ev_embed_set(ev_embed *, ev_loop *)
    void ev_embed_start(ev_loop *, ev_embed *)
    void ev_embed_stop(ev_loop *, ev_embed *)
    void ev_embed_sweep(ev_loop *, ev_embed *)
    void ev_fork_start(ev_loop *, ev_fork *)
    void ev_fork_stop(ev_loop *, ev_fork *)
    void ev_async_start(ev_loop *, ev_async *)
    void ev_async_stop(ev_loop *, ev_async *)
    void ev_async_send(ev_loop *, ev_async *) nogil
    bint ev_async_pending(ev_async *)


__version__ = "1.0.0"

EV_MINPRI = _EV_MINPRI
EV_MAXPRI = _EV_MAXPRI
EV_READ = EV_IO = _EV_READ
EV_WRITE = _EV_WRITE
EV_TIMER = _EV_TIMER
EV_PERIODIC = _EV_PERIODIC
EV_SIGNAL = _EV_SIGNAL
EV_CHILD = _EV_CHILD
EV_STAT = _EV_STAT
EV_IDLE = _EV_IDLE
EV_PREPARE = _EV_PREPARE
EV_CHECK = _EV_CHECK
EV_EMBED = _EV_EMBED
EV_FORK = _EV_FORK
EV_ASYNC = _EV_ASYNC
EV_CUSTOM = _EV_CUSTOM
EV_ERROR = _EV_ERROR
EVFLAG_AUTO = _EVFLAG_AUTO
EVFLAG_NOENV = _EVFLAG_NOENV
EVFLAG_FORKCHECK = _EVFLAG_FORKCHECK
EVFLAG_NOINOTIFY = _EVFLAG_NOINOTIFY
EVFLAG_SIGNALFD = _EVFLAG_SIGNALFD
EVFLAG_NOSIGMASK = _EVFLAG_NOSIGMASK
EVBACKEND_SELECT = _EVBACKEND_SELECT
EVBACKEND_POLL = _EVBACKEND_POLL
EVBACKEND_EPOLL = _EVBACKEND_EPOLL
EVBACKEND_KQUEUE = _EVBACKEND_KQUEUE
EVBACKEND_DEVPOLL = _EVBACKEND_DEVPOLL
EVBACKEND_PORT = _EVBACKEND_PORT
EVBACKEND_LINUXAIO = 0x40  # numbers fixed by libev's ABI; its headers name them from 4.31 on
EVBACKEND_IOURING = 0x80
EVBACKEND_ALL = _EVBACKEND_ALL
EVBACKEND_MASK = _EVBACKEND_MASK
EVRUN_NOWAIT = _EVRUN_NOWAIT
EVRUN_ONCE = _EVRUN_ONCE
EVBREAK_ONE = _EVBREAK_ONE
EVBREAK_ALL = _EVBREAK_ALL

cdef double _DAY = 86400.0
cdef double _NEVER = 1e30  # what libev's manual has a reschedule callback return for "not any more"


class Error(Exception):
    """A loop or a watcher cannot do what was called. From `Loop.poll`: `watchers` are those that the system
    refused and that were stopped, `events` the events collected so far.
    """

    watchers = ()
    events = ()


cdef struct Core:
    PyObject *owner  # the Loop, borrowed
    PyThreadState *state  # the waiting thread's
    unsigned long thread  # who runs the loop, while `frames` is not 0
    int frames  # calls of ours that libev's callbacks run under
    int invoking  # those of them that are `Loop.invoke`
    bint waiting  # without the lock
    bint quiet  # this run does not wait, so it keeps the lock
    bint hold  # this run is not to invoke anything
    Core *embedder  # the loop an active Embed runs this one in
    PyObject *embed  # that Embed, borrowed
    PyObject *first  # the watchers of this loop, borrowed
    PyObject *fresh  # of those: the Io that libev has yet to tell the kernel of
    PyObject *stash  # of those: fired after another one's callback had failed


# ---- the wait


cdef Core *_waited = NULL  # the loop whose wait ended last; libev tells of a failed one before anything else runs


cdef void _release(ev_loop *ev) noexcept nogil:
    cdef Core *core = <Core *>ev_userdata(ev)
    if not core.quiet:
        core.waiting = True
        core.state = PyEval_SaveThread()


cdef void _acquire(ev_loop *ev) noexcept nogil:
    global _waited
    cdef Core *core = <Core *>ev_userdata(ev)
    cdef int number = c_errno.errno
    if core.waiting:
        PyEval_RestoreThread(core.state)
        core.waiting = False
    _waited = core
    c_errno.errno = number


cdef void _refused(const char *message) noexcept:
    """libev's call when the system refuses; it goes on after that, or tries again without end."""
    cdef int number = c_errno.errno
    if _waited is NULL or strstr(message, "create") is not NULL or strstr(message, "creating") is not NULL \
            or strstr(message, "fork") is not NULL:
        perror(message)
        abort()
    text = message.decode("ascii", "replace").removeprefix("(libev) ")
    _fail(_waited, OSError(number, f"{_os.strerror(number)} ({text})"))


# ---- what fired


cdef Core *_answerable(Core *core) noexcept:
    """The loop whose `start` an exception comes out of."""
    while core.frames == 0 and core.embedder is not NULL:
        core = core.embedder
    return core


cdef int _fail(Core *core, object error) except -1:
    cdef Loop loop = <Loop>core.owner
    cdef Core *answerable = _answerable(core)
    cdef Loop top = <Loop>answerable.owner
    if top._error is None:
        top._error = error
    if not core.invoking:
        ev_break(loop._ev, _EVBREAK_ONE)
    if answerable is not core and not answerable.invoking:
        ev_break(top._ev, _EVBREAK_ONE)
    return 0


cdef void _fired(ev_loop *ev, ev_watcher *w, int revents) noexcept:
    cdef Core *core = <Core *>ev_userdata(ev)
    cdef Loop loop = <Loop>core.owner
    cdef Watcher watcher = <Watcher>w.data
    if (<Loop>_answerable(core).owner)._error is not None:
        watcher._revents = revents
        watcher._pair = None
        watcher._below = core.stash
        core.stash = <PyObject *>watcher
        return
    # Most watchers tell what they told last time. The pair is never one of EV_ERROR, nor of an Embed that sweeps.
    if loop._batch is not None and watcher._pair is not None and watcher._revents == revents:
        if PyList_Append(loop._batch, watcher._pair) == 0:
            return
        PyErr_Clear()
    try:
        if revents & <int>_EV_ERROR:
            watcher._halt()
            if loop._batch is None:
                raise Error(f"the system refused what {watcher!r} watches; it was stopped")
            if not watcher._vanished():
                loop._refused = [*(loop._refused or ()), watcher]
        elif watcher._embeds and watcher._callback is None:
            ev_embed_sweep(ev, <ev_embed *>w)
        elif loop._batch is not None:
            watcher._pair = watcher._data, revents
            watcher._revents = revents
            loop._batch.append(watcher._pair)
        elif watcher._callback is not None:
            watcher._callback(watcher, revents)
    except BaseException as error:
        if loop.debug or not isinstance(error, Exception):
            _fail(core, error)
        else:
            _tell(error, watcher._callback)


cdef int _tell(object error, object where) except -1:
    """To `sys.unraisablehook`."""
    PyErr_SetObject(type(error), error)
    PyErr_WriteUnraisable(where)
    return 0


cdef void _invoke_all(ev_loop *ev, Core *core) noexcept:
    cdef Watcher watcher
    ev_invoke_pending(ev)
    while core.stash is not NULL:
        watcher = <Watcher>core.stash
        core.stash = watcher._below
        watcher._below = NULL
        ev_feed_event(ev, watcher._w, watcher._revents)


cdef void _invoke(ev_loop *ev) noexcept:
    """libev's call, up to three times an iteration, for what is pending."""
    cdef Core *core = <Core *>ev_userdata(ev)
    cdef Loop loop = <Loop>core.owner
    if core.hold:
        return
    if (<Loop>_answerable(core).owner)._error is not None:
        ev_break(ev, _EVBREAK_ONE)  # again: libev forgets what was said during the wait
        return
    try:
        if loop._batch is None:  # Python does it when `poll` has returned, and what was collected is not lost
            PyErr_CheckSignals()
        if ev_pending_count(ev):
            if loop._callback is not None and loop._batch is None:
                loop._callback(loop)
            else:
                _invoke_all(ev, core)
    except BaseException as error:
        _fail(core, error)


cdef void _elapsed(ev_loop *ev, ev_timer *w, int revents) noexcept:
    pass


# ---- arguments


cdef double _seconds(object value, str what) except? -1.0:
    cdef double seconds = value
    if isnan(seconds) or seconds < 0.0:
        raise ValueError(f"{what} must be a number of seconds, 0 or more, not {value!r}")
    return seconds


cdef object _callable(object callback):
    if not callable(callback):
        raise TypeError(f"a callable is required, not {type(callback).__name__}")
    return callback


cdef int _signal_number(object signum) except -1:
    cdef int number = signum
    if not 0 < number < NSIG:
        raise ValueError(f"not a signal: {signum!r}")
    return number


cdef int _room(int wanted) except -1:
    """OSError where libev would abort: it has no way to say that there are no descriptors."""
    cdef int taken[8]
    cdef int count = 0
    cdef int number = 0
    while count < wanted:
        taken[count] = c_open("/dev/null", O_RDONLY | O_CLOEXEC)
        if taken[count] < 0:
            number = c_errno.errno
            break
        count += 1
    while count:
        count -= 1
        c_close(taken[count])
    if number:
        raise OSError(number, _os.strerror(number))
    return 0


cdef double _clock() noexcept:
    cdef timespec found
    clock_gettime(CLOCK_MONOTONIC, &found)
    return found.tv_sec + found.tv_nsec * 1e-9


# ---- signals


cdef Core *_signal_loop[256]
cdef int _signal_users[256]
cdef sigaction_t _signal_before[256]  # what was there before libev's handler
cdef sigaction_t _signal_libev[256]  # libev's handler
memset(_signal_loop, 0, sizeof(_signal_loop))
memset(_signal_users, 0, sizeof(_signal_users))


cdef int _claim_signal(int number, Core *core) except -1:
    """Before libev takes a signal: what handles it now is kept."""
    if number == SIGCHLD and not (<Loop>core.owner)._default:
        raise Error("SIGCHLD belongs to the default loop")
    if _signal_users[number] and _signal_loop[number] is not core:
        raise Error(f"signal {number} is watched by another loop")
    if not _signal_users[number]:
        sigaction(number, NULL, &_signal_before[number])
        _signal_loop[number] = core
    _signal_users[number] += 1
    return 0


cdef void _claimed_signal(int number) noexcept:
    """After libev took it."""
    if _signal_users[number] != 1:
        return
    if number == SIGCHLD:
        # libev has it since the default loop was made, but its handler is there only while it is wanted.
        sigaction(number, &_signal_libev[number], NULL)
        ev_feed_signal(number)  # children that have ended by now
    else:
        sigaction(number, NULL, &_signal_libev[number])


cdef void _unclaim_signal(int number, sigaction_t *found) noexcept:
    """After libev gave it up; `found` is what handled it just before."""
    _signal_users[number] -= 1
    if _signal_users[number] == 0:
        _signal_loop[number] = NULL
        if found.sa_handler == _signal_libev[number].sa_handler:
            sigaction(number, &_signal_before[number], NULL)
        else:
            sigaction(number, found, NULL)  # somebody set another one in the meantime


# ---- loops


cdef Loop _the_default = None


cdef class Loop:
    """Loop(flags=EVFLAG_AUTO, callback=None, data=None, debug=True, io_interval=0.0, timeout_interval=0.0)

    An event loop. `callback(loop)`, if given, is called instead of the callbacks of pending watchers. With
    `debug` false an `Exception` of a watcher's callback goes to `sys.unraisablehook` and the loop goes on.
    """

    cdef ev_loop *_ev
    cdef Core _core
    cdef ev_timer _limit  # ends a `poll`; stays armed for the next
    cdef double _limited  # when it goes off
    cdef object _error
    cdef list _batch
    cdef list _halted  # schedulers that failed
    cdef list _refused  # watchers, by the system
    cdef object _callback
    cdef double _io_interval
    cdef double _timeout_interval
    cdef int _fd
    cdef c_stat _queue  # what `_fd` is, once it is known
    cdef int _suspended
    cdef bint _default
    cdef bint _forks
    cdef bint _resets
    cdef public object data
    cdef public bint debug
    cdef object __weakref__
    cdef dict __dict__

    def __cinit__(self):
        self._core.owner = <PyObject *>self
        self._fd = -1
        self.debug = True

    def __init__(self, unsigned int flags=0, object callback=None, object data=None, bint debug=True,
                 object io_interval=0.0, object timeout_interval=0.0):
        self._open(False, flags, callback, data, debug, io_interval, timeout_interval)

    cdef int _open(self, bint default, unsigned int flags, object callback, object data, bint debug,
                   object io_interval, object timeout_interval) except -1:
        cdef sigaction_t before
        if self._ev is not NULL:
            raise Error("this loop is there already")
        cdef double io = _seconds(io_interval, "io_interval")
        cdef double timeout = _seconds(timeout_interval, "timeout_interval")
        self.callback = callback
        _room(6)
        if default:
            sigaction(SIGCHLD, NULL, &before)
            self._ev = ev_default_loop(flags)
            if self._ev is not NULL:
                sigaction(SIGCHLD, &before, &_signal_libev[SIGCHLD])
        else:
            self._ev = ev_loop_new(flags)
        if self._ev is NULL:
            raise Error(f"could not create a loop: bad flags {flags:#x}, or the kernel refuses the back end")
        self.data = data
        self.debug = debug
        self._default = default
        self._forks = flags & _EVFLAG_FORKCHECK
        ev_set_userdata(self._ev, &self._core)
        ev_set_invoke_pending_cb(self._ev, _invoke)
        ev_set_loop_release_cb(self._ev, _release, _acquire)
        ev_timer_init(&self._limit, _elapsed, 0.0, 0.0)
        self._io_interval = io
        self._timeout_interval = timeout
        ev_set_io_collect_interval(self._ev, io)
        ev_set_timeout_collect_interval(self._ev, timeout)
        return 0

    cdef int _close(self) except -1:
        cdef Watcher watcher
        cdef sigaction_t before
        if self._ev is NULL:
            return 0
        if self._core.embed is not NULL:
            (<Watcher>self._core.embed)._halt()
        while self._core.first is not NULL:
            watcher = <Watcher>self._core.first
            watcher._halt()
            watcher._leave()
        ev_timer_stop(self._ev, &self._limit)
        if self._default:
            sigaction(SIGCHLD, NULL, &before)
        ev_loop_destroy(self._ev)
        if self._default:
            sigaction(SIGCHLD, &before, NULL)
        self._ev = NULL
        return 0

    def __dealloc__(self):
        self._close()

    def __repr__(self):
        if self._ev is NULL:
            return f"<pyev.Loop, destroyed, at {<Py_ssize_t><void *>self:#x}>"
        return f"<pyev.Loop on back end {ev_backend(self._ev)} at {<Py_ssize_t><void *>self:#x}>"

    def __getattr__(self, str name):
        if name == "async":  # a keyword by now
            return self.async_
        raise AttributeError(f"'Loop' object has no attribute {name!r}")

    cdef inline int _use(self) except -1:
        if self._ev is NULL:
            raise Error("this loop was destroyed")
        if self._core.waiting:
            raise Error("another thread waits in this loop; wake it by an Async watcher")
        return 0

    cdef inline int _enter(self) except -1:
        self._use()
        if self._core.frames and self._core.thread != PyThread_get_thread_ident():
            raise Error("another thread runs this loop")
        if self._resets:
            _room(6)
            self._resets = False
        self._core.thread = PyThread_get_thread_ident()
        self._core.frames += 1
        return 0

    cdef inline int _leave(self) except -1:
        self._core.frames -= 1
        if self._halted is not None or self._error is not None:
            self._raise()
        return 0

    cdef int _raise(self) except -1:
        cdef Watcher watcher
        if self._halted is not None:
            for watcher in self._halted:
                watcher._halt()
            self._halted = None
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                error = None
        return 0

    cdef int _check_fresh(self) except -1:
        """libev is about to tell the kernel of new watchers, and would abort over what is closed."""
        cdef Io watcher
        cdef c_stat found
        if self._fd >= 0 and not self._forks:
            if fstat(self._fd, &found) < 0 or found.st_dev != self._queue.st_dev or found.st_ino != self._queue.st_ino:
                raise OSError(c_errno.EBADF, "the descriptor of this loop was closed by somebody else")
        while self._core.fresh is not NULL:
            watcher = <Io>self._core.fresh
            watcher._settle()
            if fcntl(watcher._io.fd, F_GETFD) < 0:
                watcher._halt()
                ev_feed_event(self._ev, &watcher._io, _EV_ERROR)
        return 0

    cdef int _tell_refused(self, list batch) except -1:
        error = Error(f"the system refused what {self._refused!r} watch; they were stopped")
        error.watchers, self._refused = self._refused, None
        error.events = batch
        raise error

    cdef int _run(self, int flags, list batch) except -1:
        self._enter()
        if self._core.fresh is not NULL:
            try:
                self._check_fresh()
            except BaseException:
                self._core.frames -= 1
                raise
        before, self._batch = self._batch, batch
        cdef bint quiet = self._core.quiet
        self._core.quiet = flags & _EVRUN_NOWAIT
        cdef int active = ev_run(self._ev, flags)
        self._core.quiet = quiet
        self._batch = before
        self._leave()
        return active != 0

    def start(self, int flags=0):
        """Handle events until `stop`, or until no watcher is active, or for one iteration (`EVRUN_ONCE`,
        `EVRUN_NOWAIT`).

        Returns False if no watcher is active. Raises an exception of a callback; other pending watchers stay
        pending.
        """
        self._use()
        if flags & ~(<int>_EVRUN_NOWAIT | <int>_EVRUN_ONCE):
            raise Error(f"bad flags: {flags:#x}")
        if self._limited:
            ev_timer_stop(self._ev, &self._limit)
            self._limited = 0.0
        return bool(self._run(flags, None))

    def poll(self, timeout=None):
        """One iteration of at most `timeout` seconds (None: no limit). Returns a list of `(data, revents)`, one
        for each watcher that fired, whose callback is not called. The list may be empty before the time has
        passed, after a signal or if a watcher was just stopped. Raises an `Error` if the system refuses watchers,
        which are then stopped; an Io whose descriptor was closed is stopped silently.
        """
        cdef double seconds = _DAY if timeout is None else timeout
        cdef double now, until
        cdef list batch = []
        # Python may have lost sight of one. First, as a handler may destroy this or fork, and as long as nothing is
        # collected that would be lost.
        PyErr_CheckSignals()
        self._use()
        if not seconds > 0.0:
            if seconds != 0.0:
                _seconds(timeout, "timeout")
            return self._look(batch)
        # Of a watcher that the kernel refuses libev learns when it runs, and waits all the same.
        if (ev_pending_count(self._ev) or self._core.fresh is not NULL) and self._look(batch):
            return batch
        now = _clock()
        until = now + seconds
        while True:
            if not now < self._limited <= until:
                ev_timer_stop(self._ev, &self._limit)
                ev_now_update(self._ev)
                ev_timer_set(&self._limit, until - now, 0.0)
                ev_timer_start(self._ev, &self._limit)
                self._limited = until
            self._run(_EVRUN_ONCE, batch)
            if self._refused is not None:
                self._tell_refused(batch)
            if PyList_GET_SIZE(batch) or ev_is_active(&self._limit) or self._limited == until:
                return batch
            now = _clock()
            if timeout is not None and now >= until:
                return batch
            self._limited = 0.0
            until = until if timeout is not None else now + _DAY

    cdef list _look(self, list batch):
        """An iteration that does not wait."""
        self._run(_EVRUN_NOWAIT, batch)
        if self._refused is not None:
            self._tell_refused(batch)
        return batch

    def stop(self, int how=1):
        """Make `start` return: the innermost call (`EVBREAK_ONE`), or all (`EVBREAK_ALL`)."""
        self._use()
        if how not in (_EVBREAK_ONE, _EVBREAK_ALL, _EVBREAK_CANCEL):
            raise Error(f"bad how: {how}")
        ev_break(self._ev, how)

    def invoke(self):
        """Call the callbacks of pending watchers."""
        self._enter()
        self._core.invoking += 1
        before, self._batch = self._batch, None
        _invoke_all(self._ev, &self._core)
        self._batch = before
        self._core.invoking -= 1
        self._leave()

    def reset(self):
        """In the child of a fork: the next iteration makes a new kernel object (epoll, kqueue)."""
        self._use()
        ev_loop_fork(self._ev)
        self._resets = True
        self._fd = -1

    def now(self):
        """The loop's time in seconds: the clock when the loop last read it."""
        self._use()
        return ev_now(self._ev)

    def update(self):
        """Set the loop's time from the clock."""
        self._use()
        ev_now_update(self._ev)

    def suspend(self):
        """Stop the time of timers until `resume`."""
        self._use()
        ev_suspend(self._ev)
        self._suspended += 1

    def resume(self):
        """End a `suspend`."""
        self._use()
        if not self._suspended:
            raise Error("resume() without suspend()")
        self._suspended -= 1
        ev_resume(self._ev)

    def ref(self):
        """Undo one `unref`."""
        self._use()
        ev_ref(self._ev)

    def unref(self):
        """Let `start` return although one more watcher is active."""
        self._use()
        ev_unref(self._ev)

    def verify(self):
        """Check libev's internal data; libev aborts the process if it is inconsistent."""
        self._use()
        ev_verify(self._ev)

    def destroy(self):
        """Stop all watchers and free the loop. Afterwards only attributes of loop and watchers can be used."""
        if self._ev is NULL:
            return
        self._use()
        if self._core.frames or ev_depth(self._ev):
            raise Error("this loop is running")
        global _the_default
        self._close()
        if self._default:
            _the_default = None

    def fileno(self):
        """The descriptor of epoll or kqueue, readable when `start` has work; a new one after `reset`.

        io.UnsupportedOperation with back ends that have none.
        """
        cdef ev_loop *outer
        cdef ev_embed probe
        self._use()
        if not ev_backend(self._ev) & ev_embeddable_backends():
            raise _io.UnsupportedOperation("libev's back end has no descriptor")
        if self._fd >= 0 and not self._forks:
            return self._fd
        if self._resets or self._forks:
            self._core.hold = True
            try:
                self._run(_EVRUN_NOWAIT, None)
            finally:
                self._core.hold = False
        # libev has no call for it, but a watcher that embeds the loop watches just that descriptor.
        outer = ev_loop_new(_EVBACKEND_SELECT | _EVBACKEND_POLL | _EVFLAG_NOENV)
        if outer is NULL:
            raise _io.UnsupportedOperation("libev has no second loop to ask with")
        ev_embed_init(&probe, NULL, self._ev)
        ev_embed_start(outer, &probe)
        self._fd = probe.io.fd
        ev_embed_stop(outer, &probe)
        ev_loop_destroy(outer)
        fstat(self._fd, &self._queue)
        return self._fd

    @property
    def backend(self):
        """The `EVBACKEND_` in use."""
        self._use()
        return ev_backend(self._ev)

    @property
    def default(self):
        """Whether it is the default loop."""
        return self._default

    @property
    def depth(self):
        """The number of nested calls of `start`."""
        self._use()
        return ev_depth(self._ev)

    @property
    def iteration(self):
        """The number of iterations so far."""
        self._use()
        return ev_iteration(self._ev)

    @property
    def pending(self):
        """The number of pending watchers."""
        self._use()
        return ev_pending_count(self._ev)

    @property
    def callback(self):
        """Called as `callback(loop)` instead of the callbacks of pending watchers; may be None."""
        return self._callback

    @callback.setter
    def callback(self, callback):
        self._callback = None if callback is None else _callable(callback)

    @property
    def io_interval(self):
        """Seconds for which libev may collect descriptors' events before callbacks; it holds the GIL meanwhile."""
        return self._io_interval

    @io_interval.setter
    def io_interval(self, value):
        self._use()
        self._io_interval = _seconds(value, "io_interval")
        ev_set_io_collect_interval(self._ev, self._io_interval)

    @property
    def timeout_interval(self):
        """Seconds by which timers may be delayed, so that several are called together."""
        return self._timeout_interval

    @timeout_interval.setter
    def timeout_interval(self, value):
        self._use()
        self._timeout_interval = _seconds(value, "timeout_interval")
        ev_set_timeout_collect_interval(self._ev, self._timeout_interval)

    def io(self, fd, events, callback, data=None, priority=0):
        """See `Io`."""
        return Io(fd, events, self, callback, data, priority)

    def timer(self, after, repeat, callback, data=None, priority=0):
        """See `Timer`."""
        return Timer(after, repeat, self, callback, data, priority)

    def periodic(self, offset, interval, callback, data=None, priority=0):
        """See `Periodic`."""
        return Periodic(offset, interval, self, callback, data, priority)

    def scheduler(self, scheduler, callback, data=None, priority=0):
        """See `Scheduler`."""
        return Scheduler(scheduler, self, callback, data, priority)

    def signal(self, signum, callback, data=None, priority=0):
        """See `Signal`."""
        return Signal(signum, self, callback, data, priority)

    def child(self, pid, trace, callback, data=None, priority=0):
        """See `Child`."""
        return Child(pid, trace, self, callback, data, priority)

    def stat(self, path, interval, callback, data=None, priority=0):
        """See `Stat`."""
        return Stat(path, interval, self, callback, data, priority)

    def idle(self, callback, data=None, priority=0):
        """See `Idle`."""
        return Idle(self, callback, data, priority)

    def prepare(self, callback, data=None, priority=0):
        """See `Prepare`."""
        return Prepare(self, callback, data, priority)

    def check(self, callback, data=None, priority=0):
        """See `Check`."""
        return Check(self, callback, data, priority)

    def embed(self, other, callback=None, data=None, priority=0):
        """See `Embed`."""
        return Embed(other, self, callback, data, priority)

    def fork(self, callback, data=None, priority=0):
        """See `Fork`."""
        return Fork(self, callback, data, priority)

    def async_(self, callback, data=None, priority=0):
        """See `Async`. `getattr(loop, "async")` is the same."""
        return Async(self, callback, data, priority)


def default_loop(unsigned int flags=0, object callback=None, object data=None, bint debug=True,
                 object io_interval=0.0, object timeout_interval=0.0):
    """The default loop, made by the first call; later calls ignore the arguments. Only it takes `Child` watchers."""
    global _the_default
    cdef Loop loop
    if _the_default is None:
        loop = Loop.__new__(Loop)
        loop._open(True, flags, callback, data, debug, io_interval, timeout_interval)
        _the_default = loop
    return _the_default


# ---- watchers


cdef class Watcher:
    """The base of all watchers. `callback(watcher, revents)` is called when it fires."""

    cdef ev_watcher *_w
    cdef Core *_core  # NULL without a loop
    cdef PyObject *_before  # in the loop's list
    cdef PyObject *_after
    cdef PyObject *_below  # in its stash
    cdef int _revents
    cdef bint _embeds
    cdef readonly object loop
    cdef object _callback
    cdef object _data
    cdef tuple _pair  # what a poll told last: (data, revents)
    cdef object __weakref__

    def __init__(self):
        raise TypeError("Watcher is what all watchers have in common; make one of them")

    cdef int _join(self, Loop loop, object callback, object data, object priority) except -1:
        if self._core is not NULL or self.loop is not None:
            raise Error("this watcher is there already")
        if loop is None:
            raise TypeError("a Loop is required, not None")
        loop._use()
        ev_init(self._w, _fired)
        self._w.data = <void *>self
        self._call(callback)
        cdef int wanted = priority
        ev_set_priority(self._w, min(max(wanted, <int>_EV_MINPRI), <int>_EV_MAXPRI))
        self._data = data
        self.loop = loop
        self._core = &loop._core
        self._after = loop._core.first
        if self._after is not NULL:
            (<Watcher>self._after)._before = <PyObject *>self
        loop._core.first = <PyObject *>self
        return 0

    cdef int _leave(self) except -1:
        """Out of the loop's list."""
        if self._before is not NULL:
            (<Watcher>self._before)._after = self._after
        else:
            self._core.first = self._after
        if self._after is not NULL:
            (<Watcher>self._after)._before = self._before
        self._before = self._after = NULL
        self._core = NULL
        return 0

    def __dealloc__(self):
        if self._core is not NULL:
            self._halt()
            self._leave()

    def __repr__(self):
        return f"<pyev.{type(self).__name__} at {<Py_ssize_t><void *>self:#x}>"

    cdef inline ev_loop *_ev(self) noexcept:
        return (<Loop>self._core.owner)._ev

    cdef inline int _use(self) except -1:
        if self._core is NULL:
            raise Error("this watcher has no loop (any more)")
        if self._core.waiting:
            raise Error("another thread waits in this watcher's loop; wake it by an Async watcher")
        return 0

    cdef int _settable(self) except -1:
        self._use()
        if ev_is_active(self._w):
            raise Error("a watcher cannot be set while it is active")
        return 0

    cdef int _begin(self) except -1:
        """Have libev start it."""
        return 0

    cdef void _end(self) noexcept:
        """Have libev stop it."""

    cdef bint _vanished(self) noexcept:
        """What it watches is not there any more."""
        return False

    cdef int _halt(self) except -1:
        if ev_is_active(self._w):
            self._end()
        elif ev_is_pending(self._w):
            ev_clear_pending(self._ev(), self._w)
        return 0

    def start(self):
        """Make the watcher active; no effect if it is."""
        self._use()
        if not ev_is_active(self._w):
            self._begin()

    def stop(self):
        """Make the watcher inactive and not pending."""
        self._use()
        self._halt()

    def invoke(self, int revents):
        """Call the callback."""
        self._use()
        if self._callback is not None:
            self._callback(self, revents)

    def clear(self):
        """Make the watcher not pending; returns its pending revents, or 0."""
        self._use()
        return ev_clear_pending(self._ev(), self._w)

    def feed(self, int revents):
        """Make the watcher pending with `revents`, as if the event had occurred."""
        self._use()
        ev_feed_event(self._ev(), self._w, revents)

    @property
    def active(self):
        """Whether the watcher is active."""
        return self._core is not NULL and ev_is_active(self._w)

    @property
    def pending(self):
        """Whether the watcher has fired and its callback has not been called yet."""
        return self._core is not NULL and ev_is_pending(self._w)

    @property
    def callback(self):
        """The callable that is called when the watcher fires."""
        return self._callback

    @callback.setter
    def callback(self, callback):
        self._call(callback)

    cdef int _call(self, object callback) except -1:
        self._callback = None if callback is None and self._embeds else _callable(callback)
        self._pair = None  # an Embed without one tells nothing
        return 0

    @property
    def data(self):
        """An object of yours."""
        return self._data

    @data.setter
    def data(self, data):
        self._data = data
        self._pair = None

    @property
    def priority(self):
        """From EV_MINPRI to EV_MAXPRI; higher ones are called first."""
        if self._core is NULL:
            return 0
        return ev_priority(self._w)

    @priority.setter
    def priority(self, int value):
        self._use()
        if ev_is_active(self._w) or ev_is_pending(self._w):
            raise Error("the priority cannot be set while the watcher is active or pending")
        ev_set_priority(self._w, min(max(value, <int>_EV_MINPRI), <int>_EV_MAXPRI))


cdef class Io(Watcher):
    """Io(fd, events, loop, callback, data=None, priority=0)

    Fires when a descriptor, or an object with `fileno()`, is readable (`EV_READ`) or writable (`EV_WRITE`).
    """

    cdef ev_io _io
    cdef PyObject *_newer  # in the loop's list of fresh ones
    cdef PyObject *_older
    cdef bint _fresh

    def __cinit__(self):
        self._w = <ev_watcher *>&self._io

    def __init__(self, object fd, object events, Loop loop, object callback, object data=None, object priority=0):
        cdef int mask = self._mask(events)
        cdef int number = self._number(fd)
        self._join(loop, callback, data, priority)
        ev_io_set(&self._io, number, mask)

    cdef int _mask(self, object events) except -1:
        cdef int mask = events
        if mask & ~(<int>_EV_READ | <int>_EV_WRITE):
            raise Error("illegal event mask")
        return mask

    cdef int _number(self, object fd) except -1:
        cdef int number = fd if isinstance(fd, int) else fd.fileno()
        if number < 0:
            raise ValueError(f"not a descriptor: {number}")
        return number

    def set(self, fd, events):
        """Set the descriptor and the events."""
        self._settable()
        cdef int mask = self._mask(events)
        ev_io_set(&self._io, self._number(fd), mask)

    def watch(self, events, data):
        """Set `events` and `data`, and start: `stop`, `set`, `data` and `start` in one call.

        OSError if the descriptor is closed; then nothing has changed. The descriptor may be another file's now.
        """
        cdef int mask = self._mask(events)
        self._use()
        self._check_open()
        self._halt()
        ev_io_set(&self._io, self._io.fd, mask)
        self._go()
        self._pair = None
        self._data = data  # last: the destructor of the former may destroy the loop

    cdef int _check_open(self) except -1:
        if fcntl(self._io.fd, F_GETFD) < 0:
            raise OSError(c_errno.errno, _os.strerror(c_errno.errno))
        return 0

    cdef int _begin(self) except -1:
        self._check_open()
        self._go()
        return 0

    cdef void _go(self) noexcept:
        ev_io_start(self._ev(), &self._io)
        self._fresh = True
        self._older = self._core.fresh
        if self._older is not NULL:
            (<Io>self._older)._newer = <PyObject *>self
        self._core.fresh = <PyObject *>self

    cdef void _settle(self) noexcept:
        """Out of the list of fresh ones."""
        if not self._fresh:
            return
        if self._newer is not NULL:
            (<Io>self._newer)._older = self._older
        else:
            self._core.fresh = self._older
        if self._older is not NULL:
            (<Io>self._older)._newer = self._newer
        self._newer = self._older = NULL
        self._fresh = False

    cdef int _halt(self) except -1:
        self._settle()
        return Watcher._halt(self)

    cdef bint _vanished(self) noexcept:
        return fcntl(self._io.fd, F_GETFD) < 0

    cdef void _end(self) noexcept:
        ev_io_stop(self._ev(), &self._io)

    @property
    def fd(self):
        """The descriptor, a number."""
        return self._io.fd

    @property
    def events(self):
        """EV_READ, EV_WRITE or both."""
        return self._io.events & (<int>_EV_READ | <int>_EV_WRITE)


cdef class Timer(Watcher):
    """Timer(after, repeat, loop, callback, data=None, priority=0)

    Fires after `after` seconds and, if `repeat` is not 0, every `repeat` seconds from then on.
    """

    cdef ev_timer _timer

    def __cinit__(self):
        self._w = <ev_watcher *>&self._timer

    def __init__(self, object after, object repeat, Loop loop, object callback, object data=None,
                 object priority=0):
        cdef double first = _seconds(after, "after")
        cdef double then = _seconds(repeat, "repeat")
        self._join(loop, callback, data, priority)
        ev_timer_set(&self._timer, first, then)

    def set(self, after, repeat):
        """When it fires."""
        self._settable()
        cdef double first = _seconds(after, "after")
        ev_timer_set(&self._timer, first, _seconds(repeat, "repeat"))

    cdef int _begin(self) except -1:
        ev_timer_start(self._ev(), &self._timer)
        return 0

    cdef void _end(self) noexcept:
        ev_timer_stop(self._ev(), &self._timer)

    def reset(self):
        """Act as if the timer had just fired: restart it with `repeat`, or stop it without."""
        self._use()
        ev_timer_again(self._ev(), &self._timer)

    def remaining(self):
        """Seconds until it fires; if it is not active, until it would."""
        self._use()
        return ev_timer_remaining(self._ev(), &self._timer)

    @property
    def repeat(self):
        """Seconds between two times, 0.0 for once only. A change takes effect the next time."""
        return self._timer.repeat

    @repeat.setter
    def repeat(self, value):
        self._use()
        self._timer.repeat = _seconds(value, "repeat")


cdef class Periodic(Watcher):
    """Periodic(offset, interval, loop, callback, data=None, priority=0)

    Fires by the wall clock: at `offset`, or, with an `interval`, whenever the time is `offset` beyond a multiple
    of it.
    """

    cdef ev_periodic _periodic

    def __cinit__(self):
        self._w = <ev_watcher *>&self._periodic

    def __init__(self, object offset, object interval, Loop loop, object callback, object data=None,
                 object priority=0):
        self._check(offset, interval)
        self._join(loop, callback, data, priority)
        ev_periodic_set(&self._periodic, offset, interval, NULL)

    cdef int _check(self, object offset, object interval) except -1:
        cdef double first = _seconds(offset, "offset")
        cdef double then = _seconds(interval, "interval")
        if then and (isinf(first) or isinf(then)):
            raise ValueError("an interval and its offset must be finite")
        return 0

    def set(self, offset, interval):
        """When it fires."""
        self._settable()
        self._check(offset, interval)
        ev_periodic_set(&self._periodic, offset, interval, NULL)

    cdef int _begin(self) except -1:
        ev_periodic_start(self._ev(), &self._periodic)
        return 0

    cdef void _end(self) noexcept:
        ev_periodic_stop(self._ev(), &self._periodic)

    def reset(self):
        """Apply changed values."""
        self._use()
        ev_periodic_again(self._ev(), &self._periodic)

    def at(self):
        """When it fires next; meant for an active one."""
        return ev_periodic_at(&self._periodic)

    @property
    def offset(self):
        """See above; a change holds from the next time on, or from `reset`."""
        return self._periodic.offset

    @offset.setter
    def offset(self, value):
        self._use()
        self._check(value, self._periodic.interval)
        self._periodic.offset = value

    @property
    def interval(self):
        """See above; a change holds from the next time on, or from `reset`."""
        return self._periodic.interval

    @interval.setter
    def interval(self, value):
        self._use()
        self._check(self._periodic.offset, value)
        self._periodic.interval = value


cdef double _reschedule(ev_periodic *w, double now) noexcept:
    cdef Scheduler watcher = <Scheduler>w.data
    cdef Loop top = <Loop>_answerable(watcher._core).owner
    cdef double at
    try:
        at = watcher._scheduler(watcher, now)
        if not at >= now:
            raise ValueError(f"a scheduler must return a time that is not before {now!r}, not {at!r}")
        return min(at, now + _NEVER)
    except BaseException as error:
        if top._halted is None:
            top._halted = []
        top._halted.append(watcher)
        if top.debug or not isinstance(error, Exception):
            _fail(watcher._core, error)
        else:
            _tell(error, watcher._scheduler)
        return now + _NEVER


cdef class Scheduler(Watcher):
    """Scheduler(scheduler, loop, callback, data=None, priority=0)

    Fires at the time that `scheduler(watcher, now)` returns, in seconds of the wall clock, not before `now`. If
    that raises, the watcher is stopped. It must not change the loop or its watchers.
    """

    cdef ev_periodic _periodic
    cdef object _scheduler

    def __cinit__(self):
        self._w = <ev_watcher *>&self._periodic

    def __init__(self, object scheduler, Loop loop, object callback, object data=None, object priority=0):
        _callable(scheduler)
        self._join(loop, callback, data, priority)
        self._scheduler = scheduler
        ev_periodic_set(&self._periodic, 0.0, 0.0, NULL)
        self._periodic.reschedule_cb = _reschedule

    cdef int _begin(self) except -1:
        cdef Loop loop = <Loop>self._core.owner
        loop._enter()
        loop._core.invoking += 1
        ev_periodic_start(loop._ev, &self._periodic)
        loop._core.invoking -= 1
        loop._leave()
        return 0

    cdef void _end(self) noexcept:
        ev_periodic_stop(self._ev(), &self._periodic)

    def reset(self):
        """Call `scheduler` again."""
        self._use()
        self._halt()
        self._begin()

    def at(self):
        """When it fires next; meant for an active one."""
        return ev_periodic_at(&self._periodic)

    @property
    def scheduler(self):
        """Called as `scheduler(watcher, now)`; returns the next time."""
        return self._scheduler

    @scheduler.setter
    def scheduler(self, value):
        self._scheduler = _callable(value)


cdef class Signal(Watcher):
    """Signal(signum, loop, callback, data=None, priority=0)

    Fires on a signal. While the watcher is active libev handles the signal, afterwards Python again.
    """

    cdef ev_signal _signal

    def __cinit__(self):
        self._w = <ev_watcher *>&self._signal

    def __init__(self, object signum, Loop loop, object callback, object data=None, object priority=0):
        cdef int number = _signal_number(signum)
        self._join(loop, callback, data, priority)
        ev_signal_set(&self._signal, number)

    def set(self, signum):
        """Which signal."""
        self._settable()
        ev_signal_set(&self._signal, _signal_number(signum))

    cdef int _begin(self) except -1:
        _room(2)
        _claim_signal(self._signal.signum, self._core)
        ev_signal_start(self._ev(), &self._signal)
        _claimed_signal(self._signal.signum)
        return 0

    cdef void _end(self) noexcept:
        cdef sigaction_t found
        sigaction(self._signal.signum, NULL, &found)
        ev_signal_stop(self._ev(), &self._signal)
        _unclaim_signal(self._signal.signum, &found)

    @property
    def signum(self):
        """Which signal."""
        return self._signal.signum


cdef class Child(Watcher):
    """Child(pid, trace, loop, callback, data=None, priority=0)

    Fires when a child process (0: any) has ended, or, with `trace`, was stopped or continued; on the default
    loop only. While one is active, libev reaps every child that ends, also those of `subprocess`.
    """

    cdef ev_child _child

    def __cinit__(self):
        self._w = <ev_watcher *>&self._child

    def __init__(self, object pid, object trace, Loop loop, object callback, object data=None, object priority=0):
        cdef int number = self._check(pid)
        if loop is not None and not loop._default:
            raise Error("only the default loop takes Child watchers")
        self._join(loop, callback, data, priority)
        ev_child_set(&self._child, number, bool(trace))

    cdef int _check(self, object pid) except -1:
        cdef int number = pid
        if number < 0:
            raise ValueError(f"not a process: {pid!r}")
        return number

    def set(self, pid, trace):
        """Set the process, and whether stops and continues count."""
        self._settable()
        ev_child_set(&self._child, self._check(pid), bool(trace))

    cdef int _begin(self) except -1:
        _claim_signal(SIGCHLD, self._core)
        ev_child_start(self._ev(), &self._child)
        _claimed_signal(SIGCHLD)
        return 0

    cdef void _end(self) noexcept:
        cdef sigaction_t found
        sigaction(SIGCHLD, NULL, &found)
        ev_child_stop(self._ev(), &self._child)
        _unclaim_signal(SIGCHLD, &found)

    @property
    def pid(self):
        """The process watched, 0 for any."""
        return self._child.pid

    @property
    def rpid(self):
        """The process whose status changed."""
        return self._child.rpid

    @rpid.setter
    def rpid(self, int value):
        self._child.rpid = value

    @property
    def rstatus(self):
        """The status of that process, as from `os.waitpid`."""
        return self._child.rstatus

    @rstatus.setter
    def rstatus(self, int value):
        self._child.rstatus = value


cdef class Statdata:
    """The result of stat(2); `nlink` is 0 if the file does not exist."""

    cdef readonly unsigned long long dev, rdev, ino, nlink
    cdef readonly long long size
    cdef readonly unsigned int mode, uid, gid
    cdef readonly double atime, mtime, ctime

    def __init__(self):
        raise TypeError("Statdata comes from Stat watchers")

    def __repr__(self):
        return f"<pyev.Statdata: inode {self.ino}, {self.size} bytes, {self.nlink} links>"


cdef Statdata _statdata(c_stat *found):
    cdef Statdata data = Statdata.__new__(Statdata)
    data.dev, data.rdev, data.ino, data.nlink = found.st_dev, found.st_rdev, found.st_ino, found.st_nlink
    data.size = found.st_size
    data.mode, data.uid, data.gid = found.st_mode, found.st_uid, found.st_gid
    data.atime, data.mtime, data.ctime = found.st_atime, found.st_mtime, found.st_ctime
    return data


cdef class Stat(Watcher):
    """Stat(path, interval, loop, callback, data=None, priority=0)

    Fires when the result of stat(2) for a path has changed; the path need not exist. `interval` is the seconds
    between two checks, if the system does not notify libev (0.0: libev's default).
    """

    cdef ev_stat _stat
    cdef bytes _path  # what libev points into
    cdef object _given

    def __cinit__(self):
        self._w = <ev_watcher *>&self._stat

    def __init__(self, object path, object interval, Loop loop, object callback, object data=None,
                 object priority=0):
        self._check(path, interval)
        self._join(loop, callback, data, priority)
        self.set(path, interval)

    cdef bytes _check(self, object path, object interval):
        _seconds(interval, "interval")
        cdef bytes encoded = _os.fsencode(path)
        if b"\0" in encoded:
            raise ValueError("a path has no null bytes")
        return encoded

    def set(self, path, interval):
        """Set the path and the interval."""
        self._settable()
        self._path = self._check(path, interval)
        self._given = _os.fspath(path)
        ev_stat_set(&self._stat, self._path, interval)

    cdef int _begin(self) except -1:
        ev_stat_start(self._ev(), &self._stat)
        return 0

    cdef void _end(self) noexcept:
        ev_stat_stop(self._ev(), &self._stat)

    def stat(self):
        """Call stat(2) now, and compare later results with this one."""
        self._use()
        ev_stat_stat(self._ev(), &self._stat)

    @property
    def path(self):
        """The path."""
        return self._given

    @property
    def interval(self):
        """Seconds between two checks."""
        return self._stat.interval

    @property
    def current(self):
        """The latest `Statdata`."""
        return _statdata(&self._stat.attr)

    @property
    def previous(self):
        """The one before."""
        return _statdata(&self._stat.prev)


cdef class Idle(Watcher):
    """Idle(loop, callback, data=None, priority=0)

    Fires in every iteration in which no watcher of its priority or above is pending; the loop does not wait.
    """

    cdef ev_idle _idle

    def __cinit__(self):
        self._w = <ev_watcher *>&self._idle

    def __init__(self, Loop loop, object callback, object data=None, object priority=0):
        self._join(loop, callback, data, priority)

    cdef int _begin(self) except -1:
        ev_idle_start(self._ev(), &self._idle)
        return 0

    cdef void _end(self) noexcept:
        ev_idle_stop(self._ev(), &self._idle)


cdef class Prepare(Watcher):
    """Prepare(loop, callback, data=None, priority=0)

    Fires just before the loop waits.
    """

    cdef ev_prepare _prepare

    def __cinit__(self):
        self._w = <ev_watcher *>&self._prepare

    def __init__(self, Loop loop, object callback, object data=None, object priority=0):
        self._join(loop, callback, data, priority)

    cdef int _begin(self) except -1:
        ev_prepare_start(self._ev(), &self._prepare)
        return 0

    cdef void _end(self) noexcept:
        ev_prepare_stop(self._ev(), &self._prepare)


cdef class Check(Watcher):
    """Check(loop, callback, data=None, priority=0)

    Fires just after the loop has waited.
    """

    cdef ev_check _check

    def __cinit__(self):
        self._w = <ev_watcher *>&self._check

    def __init__(self, Loop loop, object callback, object data=None, object priority=0):
        self._join(loop, callback, data, priority)

    cdef int _begin(self) except -1:
        ev_check_start(self._ev(), &self._check)
        return 0

    cdef void _end(self) noexcept:
        ev_check_stop(self._ev(), &self._check)


cdef class Embed(Watcher):
    """Embed(other, loop, callback=None, data=None, priority=0)

    Fires when another loop has work. Without a callback that loop runs at once, with one `sweep` runs it.
    """

    cdef ev_embed _embed
    cdef readonly Loop other

    def __cinit__(self):
        self._w = <ev_watcher *>&self._embed
        self._embeds = True

    def __init__(self, Loop other, Loop loop, object callback=None, object data=None, object priority=0):
        self._check(other, loop)
        self._join(loop, callback, data, priority)
        self.set(other)

    cdef int _check(self, Loop other, Loop loop) except -1:
        if other is None or loop is None:
            raise TypeError("a Loop is required, not None")
        other._use()
        if other is loop:
            raise Error("a loop cannot be embedded in itself")
        if not ev_backend(other._ev) & ev_embeddable_backends():
            raise Error("the other loop's back end cannot be embedded")
        return 0

    def set(self, Loop other):
        """Set the other loop."""
        self._settable()
        self._check(other, self.loop)
        self.other = other
        ev_embed_set(&self._embed, other._ev)

    cdef int _begin(self) except -1:
        self._check(self.other, self.loop)
        if self.other._core.embed is not NULL:
            raise Error("the other loop is embedded already")
        cdef Core *above = self._core
        while above is not NULL:
            if above is &self.other._core:
                raise Error("the loops would embed each other")
            above = above.embedder
        self.other._core.embed = <PyObject *>self
        self.other._core.embedder = self._core
        ev_embed_start(self._ev(), &self._embed)
        return 0

    cdef void _end(self) noexcept:
        cdef Core *inner = <Core *>ev_userdata(self._embed.other)
        ev_embed_stop(self._ev(), &self._embed)
        inner.embed = NULL
        inner.embedder = NULL

    def sweep(self):
        """Run one iteration of the other loop, without waiting."""
        self._use()
        self.other._use()
        cdef Loop loop = <Loop>self._core.owner
        loop._enter()
        loop._core.invoking += 1
        cdef bint quiet = self.other._core.quiet
        self.other._core.quiet = True
        if self.other._core.embedder is NULL:
            self.other._core.embedder = self._core
            ev_embed_sweep(loop._ev, &self._embed)
            self.other._core.embedder = NULL
        else:
            ev_embed_sweep(loop._ev, &self._embed)
        self.other._core.quiet = quiet
        loop._core.invoking -= 1
        loop._leave()


cdef class Fork(Watcher):
    """Fork(loop, callback, data=None, priority=0)

    Fires in the child after a fork, when the loop has noticed it (`Loop.reset`, `EVFLAG_FORKCHECK`).
    """

    cdef ev_fork _fork

    def __cinit__(self):
        self._w = <ev_watcher *>&self._fork

    def __init__(self, Loop loop, object callback, object data=None, object priority=0):
        self._join(loop, callback, data, priority)

    cdef int _begin(self) except -1:
        ev_fork_start(self._ev(), &self._fork)
        return 0

    cdef void _end(self) noexcept:
        ev_fork_stop(self._ev(), &self._fork)


cdef class Async(Watcher):
    """Async(loop, callback, data=None, priority=0)

    Fires after a call of `send`, by another thread or a signal handler.
    """

    cdef ev_async _async

    def __cinit__(self):
        self._w = <ev_watcher *>&self._async

    def __init__(self, Loop loop, object callback, object data=None, object priority=0):
        self._join(loop, callback, data, priority)

    cdef int _begin(self) except -1:
        _room(2)
        ev_async_start(self._ev(), &self._async)
        return 0

    cdef void _end(self) noexcept:
        ev_async_stop(self._ev(), &self._async)

    def send(self):
        """Make the watcher fire, from any thread; several calls may fire it once."""
        if self._core is NULL:
            raise Error("this watcher has no loop (any more)")
        ev_async_send(self._ev(), &self._async)

    @property
    def sent(self):
        """Whether `send` was called and the watcher has not fired yet."""
        return self._core is not NULL and ev_async_pending(&self._async)


# ---- functions


def supported_backends():
    """The `EVBACKEND_` bits that this libev was built with."""
    return ev_supported_backends()


def recommended_backends():
    """The `EVBACKEND_` bits that libev tries by default."""
    return ev_recommended_backends()


def embeddable_backends():
    """The `EVBACKEND_` bits of loops that another loop can embed."""
    return ev_embeddable_backends()


def time():
    """libev's wall-clock time, in seconds."""
    return ev_time()


def sleep(interval):
    """Wait `interval` seconds; a signal ends the wait early."""
    cdef double seconds = _seconds(interval, "interval")
    with nogil:
        ev_sleep(seconds)
    PyErr_CheckSignals()


def feed_signal(signum):
    """Act as if the signal had arrived; from any thread."""
    ev_feed_signal(_signal_number(signum))


def abi_version():
    """libev's ABI, (major, minor)."""
    return ev_version_major(), ev_version_minor()


def version():
    """pyev's version and that of the libev it was built for, as text."""
    return __version__, f"{EV_VERSION_MAJOR}.{EV_VERSION_MINOR:02d}"


if ev_version_major() != EV_VERSION_MAJOR:
    raise ImportError(f"built for libev {EV_VERSION_MAJOR}, but found libev {ev_version_major()}")
ev_set_syserr_cb(_refused)
