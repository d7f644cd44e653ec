# cython: boundscheck=False, wraparound=False, initializedcheck=False, freethreading_compatible=False
"""One libevent base, its watches in C, and a poll that collects what fired without a Python callback.

What libevent does not do by itself, and is done here:

- After a signal it waits on. In the main thread a wait has a pipe of the base's own as the process's signal
  wake-up descriptor; what was in that place is told afterwards.
- It runs on until something happened that it was asked for: also where only NONBLOCK is given, hence ONCE with it.
- It exits the process where it has no descriptors for its base: they are tried beforehand.
- It cannot say that the kernel still reports a file that was closed before it was forgotten (alive in a copy), and
  spins on it. Such a descriptor is noticed when it is forgotten, and the kernel object made anew.
- With the changelist it tells the kernel when it waits, waits also when the kernel refuses, and says so to its log
  only. So new watches are told by a run that does not wait, the log is read, and what is forgotten is told at once:
  its number may be closed next.
- Its log is the process's. Messages about a base of ours are kept from it; all others are printed as libevent does.
"""

from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_SIZE
from libc.errno cimport EBADF, EIO, EMFILE, ENOMEM, errno
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset, strerror

import signal
import threading

from evsockets.engines.base import WatchError

cdef extern from "<fcntl.h>":
    enum: F_GETFD
    int fcntl(int, int, ...)

cdef extern from "<sys/stat.h>":
    ctypedef unsigned long dev_t
    ctypedef unsigned long ino_t
    cdef struct stat_t "stat":
        dev_t st_dev
        ino_t st_ino
    int fstat(int, stat_t *)

cdef extern from "<sys/select.h>":
    enum: FD_SETSIZE

cdef extern from "<unistd.h>":
    int close(int)
    ssize_t read(int, void *, size_t)
    ssize_t write(int, const void *, size_t)

cdef extern from "<event2/event.h>":
    cdef struct event:
        pass
    cdef struct event_base:
        pass
    ctypedef void (*event_callback_fn)(int, short, void *) noexcept nogil
    enum: EV_READ, EV_WRITE, EV_PERSIST, EV_TIMEOUT, EVLOOP_ONCE, EVLOOP_NONBLOCK
    const char *event_get_version()
    const char **event_get_supported_methods()
    const char *event_base_get_method(event_base *)
    void event_base_free(event_base *)
    int event_base_loop(event_base *, int) nogil
    int event_reinit(event_base *)
    event *event_new(event_base *, int, short, event_callback_fn, void *)
    int event_assign(event *, event_base *, int, short, event_callback_fn, void *)
    int event_add(event *, void *)
    int event_del(event *)
    void event_free(event *)

cdef extern from "_loop.h":
    ctypedef struct Watch:
        event *reading
        event *writing
        State *state
        Watch *next
        dev_t device
        ino_t inode
        int fd
        int interest
        int mask
        int refused
    ctypedef struct State:
        Watch **watches
        int size
        Watch *first
        Watch **last
        int refused
        int stale
        int signalled
        int expired
    void on_readable(int, short, void *) noexcept nogil
    void on_writable(int, short, void *) noexcept nogil
    void on_signal(int, short, void *) noexcept nogil
    void on_time(int, short, void *) noexcept nogil
    void enter(State *) nogil
    int leave() nogil
    int forks
    int in_main_thread()
    void begin_process(unsigned long)
    double now()
    int arm(event *, double)
    int make_pipe(int *)
    int has_room()
    int same_file(Watch *)
    event_base *make_base(const char *, int)
    bint HAS_SET_WAKEUP_FD
    int c_set_wakeup_fd(int)

cdef enum:
    READ = 1
    WRITE = 2
    BOTH = 3

cdef double DAY = 86400.0
cdef bint begun = False


def version():
    """The version of the libevent that is in use."""
    return event_get_version().decode()


def variants():
    """libevent's methods here, in its order; the changelist is a way to use epoll."""
    cdef const char **methods = event_get_supported_methods()
    names = []
    while methods[0] != NULL:
        name = methods[0].decode()
        names.append(name)
        if name == "epoll":
            names.append("epoll-changelist")
        methods += 1
    return names


cdef int set_wakeup(int fd) except -2:
    """Make it the process's signal wake-up descriptor; return the former one."""
    if HAS_SET_WAKEUP_FD:
        return c_set_wakeup_fd(fd)
    try:
        return signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    except (OSError, ValueError):  # its owner has closed it meanwhile
        return signal.set_wakeup_fd(-1)


cdef failure(int number, str what=None):
    return OSError(number, what or strerror(number).decode())


cdef class Loop:
    """One event base with its watches. Tokens are where the garbage collector sees them."""

    cdef event_base *base
    cdef State state
    cdef list pairs  # by descriptor: (token, interest), None if it is not watched
    cdef event *waking
    cdef event *timer
    cdef int pipe[2]
    cdef double armed  # when the timer goes off; 0 if it does not
    cdef int forks
    cdef bint running, changelist, selects, polls, in_kernel
    cdef bint fresh  # the kernel has not been told of every watch
    cdef readonly str backend
    cdef object raised  # by a signal handler

    def __cinit__(self, variant=None):
        global begun
        self.pipe[0] = self.pipe[1] = -1
        self.state.last = &self.state.first
        self.pairs = []
        self.forks = forks
        if not begun:
            main = threading.main_thread()
            begin_process(getattr(main, "native_id", main.ident))
            begun = True
        if make_pipe(self.pipe) < 0 or has_room() < 0:
            raise failure(errno)
        cdef bytes method = (variant or "").removesuffix("-changelist").encode()
        cdef bint changelist = variant == "epoll-changelist"
        enter(&self.state)
        self.base = make_base(<const char *>method if variant else NULL, changelist)
        leave()
        if self.base == NULL:
            raise ValueError(f"libevent has no method {variant!r} here")
        self.backend = event_base_get_method(self.base).decode()
        if self.backend == "epoll (with changelist)":
            self.backend = "epoll-changelist"
        self.changelist = self.backend == "epoll-changelist"
        self.selects = self.backend == "select"
        self.polls = self.backend == "poll"
        self.in_kernel = self.backend not in ("poll", "select")
        self.timer = event_new(self.base, -1, EV_TIMEOUT, on_time, &self.state)
        if self.timer == NULL:
            raise MemoryError
        self.check_number(self.pipe[0])
        self.watch_pipe()

    cdef int check_number(self, int fd) except -1:
        if self.selects and fd >= FD_SETSIZE:
            raise failure(EMFILE, f"select(2) takes descriptors below {FD_SETSIZE} only, not {fd}")
        return 0

    cdef int watch_pipe(self) except -1:
        self.waking = event_new(self.base, self.pipe[0], EV_READ | EV_PERSIST, on_signal, &self.state)
        if self.waking == NULL:
            raise MemoryError
        if self.add(self.waking) < 0:
            number = errno
            raise failure(number, f"{strerror(number).decode()}: libevent cannot watch the descriptor that wakes it")
        return 0

    cdef int add(self, event *what) noexcept:
        cdef int result
        enter(&self.state)
        result = event_add(what, NULL)
        leave()
        return result

    # -- states a verb may meet ------------------------------------------------------------------

    cdef int check(self) except -1:
        """A verb begins: refuse what cannot be, and mend what has happened since the last one."""
        if self.base == NULL:
            raise RuntimeError("this engine is closed")
        if self.forks != forks:
            self.forked()
        if self.running:
            raise RuntimeError("another thread waits in this engine")
        if self.state.stale:
            self.renew()
        return 0

    cdef int forked(self) except -1:
        """In the child of a fork: share neither the kernel object nor the pipe with the parent."""
        cdef event *old = self.waking
        if self.running:  # the thread that waits is not here, and left the base in the middle of it
            self.abandon()
            raise RuntimeError("this engine is closed: its process forked while it waited in another thread")
        if has_room() < 0:
            raise failure(errno)
        self.renew()
        self.waking = NULL
        event_free(old)
        close(self.pipe[0])
        close(self.pipe[1])
        if make_pipe(self.pipe) < 0:
            self.abandon()
            raise failure(errno)
        self.watch_pipe()
        self.forks = forks
        return 0

    cdef int renew(self) except -1:
        """A new kernel object, which is told of what is watched now; a closed descriptor vanishes."""
        if has_room() < 0:
            raise failure(errno)
        enter(&self.state)
        event_reinit(self.base)
        leave()
        self.state.stale = False
        self.fresh = True
        return 0

    cdef void abandon(self) noexcept:
        """Leave the base as it is, and everything in it with it."""
        self.base = NULL
        self.pairs = []

    # -- the verbs -------------------------------------------------------------------------------

    def watch(self, int fd, int interest, token):
        cdef Watch *watch
        cdef stat_t found
        cdef bint known
        cdef int number
        if fd < 0:
            raise failure(EBADF, f"not a descriptor: {fd}")
        pair = token, interest  # first: memory for Python's objects may run its collector, and that destructors
        self.check()
        if interest < 0 or interest > BOTH:
            raise ValueError(f"interest must be 0, READ, WRITE or both, not {interest!r}")
        if self.state.first != NULL:
            self.unlink()
        if interest == 0:
            self.forget(fd)
            if self.changelist and self.fresh and self.base != NULL:
                self.run(EVLOOP_ONCE | EVLOOP_NONBLOCK)  # what it finds comes again: readiness is a level
                self.unlink()
            return
        if fstat(fd, &found) < 0:
            raise failure(errno)
        self.check_number(fd)
        self.make_place(fd)
        watch = self.state.watches[fd] if fd < self.state.size else NULL
        if watch != NULL and (watch.device != found.st_dev or watch.inode != found.st_ino):
            self.forget(fd)  # closed without being forgotten, and another file by now
            return self.watch(fd, interest, token)
        known = watch != NULL
        if not known:
            watch = <Watch *>calloc(1, sizeof(Watch))
            if watch == NULL:
                raise MemoryError
            watch.fd = fd
            watch.state = &self.state
            watch.device = found.st_dev
            watch.inode = found.st_ino
            self.state.watches[fd] = watch
        # What is new first: where the kernel refuses it, nothing has changed.
        number = self.change(watch, watch.interest | interest)
        if number:
            self.change(watch, watch.interest)
            if not known:
                self.state.watches[fd] = NULL
                free(watch)
            raise failure(number)
        self.change(watch, interest)
        watch.interest = interest
        self.fresh = True
        self.pairs[fd] = pair  # last: the destructor of the former token may close this

    cdef int make_place(self, int fd) except -1:
        cdef int size
        cdef Watch **watches
        if fd >= self.state.size:
            size = fd + 1 + fd // 8
            watches = <Watch **>realloc(self.state.watches, size * sizeof(Watch *))
            if watches == NULL:
                raise MemoryError
            memset(watches + self.state.size, 0, (size - self.state.size) * sizeof(Watch *))
            self.state.watches = watches
            self.state.size = size
        if fd >= PyList_GET_SIZE(self.pairs):
            self.pairs.extend([None] * (self.state.size - PyList_GET_SIZE(self.pairs)))
        return 0

    cdef int change(self, Watch *watch, int interest) noexcept:
        """Have libevent watch for `interest`; the errno with which the system refuses it, else 0."""
        cdef int number = self.one(&watch.reading, interest & READ, watch, EV_READ, on_readable)
        return self.one(&watch.writing, interest & WRITE, watch, EV_WRITE, on_writable) or number

    cdef int one(
        self, event **place, bint wanted, Watch *watch, short what, event_callback_fn callback
    ) noexcept:
        cdef int number
        if wanted and place[0] == NULL:
            place[0] = event_new(self.base, watch.fd, what | EV_PERSIST, callback, watch)
            if place[0] == NULL:
                return ENOMEM
            if self.add(place[0]) < 0:
                number = errno or EIO
                event_free(place[0])
                place[0] = NULL
                self.state.refused -= watch.refused != 0  # told by `watch`
                watch.refused = 0
                return number
        elif not wanted and place[0] != NULL:
            enter(&self.state)
            if event_del(place[0]) < 0:
                self.state.stale = True
            leave()
            event_free(place[0])
            place[0] = NULL
        return 0

    cdef int forget(self, int fd) except -1:
        """The token's destructor may close this loop, or watch more or less."""
        cdef Watch *watch = self.state.watches[fd] if fd < self.state.size else NULL
        if watch == NULL:
            return 0
        if self.in_kernel and not same_file(watch):
            self.state.stale = True
        self.state.watches[fd] = NULL  # from now on the log says nothing of it
        self.change(watch, 0)
        self.state.refused -= watch.refused != 0
        free(watch)
        self.fresh = True
        if fd < PyList_GET_SIZE(self.pairs):
            self.pairs[fd] = None
        return 0

    def poll(self, timeout):
        """None where a signal handler raised: `raised` then says what, with the traceback it had there."""
        cdef double seconds = DAY if timeout is None else timeout
        cdef list batch
        # Python may have lost sight of one, and this may be a program that never waits. First, as a handler may
        # close this or fork.
        if not self.look_for_signals():
            return None
        self.check()
        if self.state.first != NULL:
            self.unlink()
        if self.state.refused:
            self.tell_refused()
        # Where the wake-up descriptor costs system calls, it is looked first whether anything has to be waited for.
        if seconds <= 0 or (self.changelist and self.fresh) or (not HAS_SET_WAKEUP_FD and in_main_thread()):
            self.run(EVLOOP_ONCE | EVLOOP_NONBLOCK)
            batch = self.collect()
            if self.state.refused:
                self.tell_refused()
            if batch or seconds <= 0:
                return batch
            self.check()  # a destructor may have closed this
        self.limit(seconds)
        if not self.wait():
            return None
        batch = self.collect()
        return batch if self.look_for_signals() else None

    def take_raised(self):
        raised, self.raised = self.raised, None
        return raised

    cdef bint look_for_signals(self) except -1:
        """Have Python's handlers called; False where one raised."""
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            # Without the entry for this function, which has no frame that a handler could have been given.
            self.raised = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
            return False
        return True

    cdef int limit(self, double seconds) except -1:
        """Have the timer go off in `seconds`, or sooner: a poll may end early, but not twice for one timer."""
        cdef double time = now()
        if not time < self.armed <= time + seconds:
            self.armed = 0
            if arm(self.timer, seconds) < 0:
                raise MemoryError
            self.armed = time + seconds
        return 0

    cdef bint wait(self) except -1:
        """False where a signal handler raised before the wait began."""
        cdef int former, found
        if not in_main_thread():
            self.run(EVLOOP_ONCE)
            return True
        former = set_wakeup(self.pipe[1])
        try:
            # From here on a signal writes into the pipe; one that came before is noticed now.
            if not self.look_for_signals():
                return False
            if self.base == NULL:
                raise RuntimeError("this engine is closed")
            self.run(EVLOOP_ONCE)
        finally:
            found = set_wakeup(former)
            if found != self.pipe[1]:  # a handler has set another one
                set_wakeup(found)
            if self.state.signalled:
                self.pass_on(former)
        return True

    cdef void pass_on(self, int former) noexcept:
        """Empty the pipe; tell whoever else wants to know of signals."""
        cdef char numbers[256]
        cdef ssize_t count
        self.state.signalled = False
        while True:
            count = read(self.pipe[0], numbers, sizeof(numbers))
            if count <= 0:
                return
            if former >= 0:
                count = write(former, numbers, count)

    cdef int run(self, int flags) except -1:
        """One iteration of libevent's; the lock is given up where it may wait."""
        cdef int result, number
        self.state.expired = False
        if flags & EVLOOP_NONBLOCK:
            enter(&self.state)
            result = event_base_loop(self.base, flags)
            number = leave()
        else:
            self.running = True
            with nogil:
                enter(&self.state)
                result = event_base_loop(self.base, flags)
                number = leave()
            self.running = False
        self.fresh = False
        if self.state.expired:
            self.armed = 0
        if result < 0:
            if number == EBADF and not self.in_kernel:
                self.forget_closed()
            else:
                raise failure(number or EIO)
        return 0

    cdef list collect(self):
        cdef list batch = []
        cdef Watch *watch
        cdef int mask
        while self.state.first != NULL:
            watch = self.state.first
            self.state.first = watch.next
            mask = watch.mask
            watch.mask = 0
            if self.polls and fcntl(watch.fd, F_GETFD) < 0:  # poll(2) says so again and again, libevent: ready
                self.forget(watch.fd)
            elif watch.fd < PyList_GET_SIZE(self.pairs):
                pair = self.pairs[watch.fd]
                if pair is not None:
                    batch.append(pair if mask == watch.interest else (pair[0], mask))
        self.state.last = &self.state.first
        return batch

    cdef void unlink(self) noexcept:
        """Nothing has fired: what an exception left, or what comes again in the next poll."""
        while self.state.first != NULL:
            self.state.first.mask = 0
            self.state.first = self.state.first.next
        self.state.last = &self.state.first

    cdef int forget_closed(self) except -1:
        """What was closed without being forgotten vanishes, as it does with epoll."""
        cdef int fd
        held = self.pairs[:]  # no destructor runs before the end
        for fd in range(self.state.size):
            if self.state.watches[fd] != NULL and fcntl(fd, F_GETFD) < 0:
                self.forget(fd)
        return 0

    cdef int tell_refused(self) except -1:
        """Forget what the kernel refused in a run, and say so; a closed descriptor just vanishes."""
        cdef int fd, refused, number = 0
        tokens = []
        held = self.pairs[:]  # no destructor runs before the end
        self.unlink()
        for fd in range(self.state.size):
            if self.state.watches[fd] != NULL and self.state.watches[fd].refused:
                refused = self.state.watches[fd].refused
                if refused != EBADF:
                    number = refused
                    tokens.append(self.pairs[fd][0])
                self.forget(fd)
        if tokens:
            raise WatchError(number, strerror(number).decode(), tokens)
        return 0

    def close(self):
        if self.base == NULL:
            return
        if self.forks != forks:
            self.forked()
        if self.running:
            raise RuntimeError("another thread waits in this engine")
        self.free_all()

    cdef void free_all(self) noexcept:
        cdef int fd
        cdef event_base *base = self.base
        cdef Watch *watch
        self.unlink()
        self.base = NULL
        if base != NULL:
            enter(&self.state)
            for fd in range(self.state.size):
                watch = self.state.watches[fd]
                if watch != NULL:
                    self.state.watches[fd] = NULL
                    if watch.reading != NULL:
                        event_free(watch.reading)
                    if watch.writing != NULL:
                        event_free(watch.writing)
                    free(watch)
            if self.waking != NULL:
                event_free(self.waking)
            if self.timer != NULL:
                event_free(self.timer)
            event_base_free(base)
            leave()
        free(self.state.watches)
        self.state.watches = NULL
        self.state.size = 0
        if self.pipe[0] >= 0:
            close(self.pipe[0])
            close(self.pipe[1])
            self.pipe[0] = self.pipe[1] = -1
        if self.pairs is not None:
            self.pairs.clear()

    def __dealloc__(self):
        if self.forks != forks and self.base != NULL:
            if self.running or has_room() < 0:
                self.base = NULL  # the kernel object is the parent's too: better lost than emptied
            else:
                enter(&self.state)  # what it warns of, descriptors closed since, is nobody's news
                event_reinit(self.base)
                leave()
        self.free_all()
