"""Watching descriptors with epoll, and waiting for them, by C calls: what `SelectorsEngine` does in Python."""

from weakref import ref

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, errno

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/epoll.h>
    #include <time.h>
    #define EVSOCKETS_LINUX 1
    static double evsockets_monotonic(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return ((double)t.tv_sec * 1e9 + (double)t.tv_nsec) / 1e9;
    }
    #else
    #include <errno.h>
    #define EVSOCKETS_LINUX 0
    struct epoll_event { unsigned events; union { int fd; } data; };
    enum { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL };
    static int epoll_ctl(int fd, int how, int other, struct epoll_event *event) { errno = ENOSYS; return -1; }
    static int epoll_wait(int fd, struct epoll_event *events, int most, int timeout) { errno = ENOSYS; return -1; }
    static double evsockets_monotonic(void) { return 0.0; }
    #endif
    """
    bint ON_LINUX "EVSOCKETS_LINUX"
    double monotonic "evsockets_monotonic"()
    ctypedef union epoll_data:
        int fd
    struct epoll_event:
        unsigned events
        epoll_data data
    int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int epoll_ctl(int fd, int how, int other, epoll_event *event)
    int epoll_wait(int fd, epoll_event *events, int most, int timeout) nogil

if not ON_LINUX:
    raise ImportError("this system has no epoll")

cdef enum:
    MOST = 1024  # descriptors told of at a time
    IN = 1
    OUT = 4
    READ = 1
    WRITE = 2


cdef class Epoll:
    """`engine`'s epoll object `fd`; `watched` and `suspects` are the engine's own, see `SelectorsEngine`.

    What is not usual the engine does itself, in Python.
    """

    cdef int fd
    cdef list watched
    cdef set suspects
    cdef object engine

    def __init__(self, engine, int fd, list watched, set suspects):
        self.engine = ref(engine)
        self.fd = fd
        self.watched = watched
        self.suspects = suspects

    def watch(self, fd, interest, token):
        """See `Engine.watch`."""
        cdef epoll_event event
        cdef int number, bits, how
        if type(fd) is not int or type(interest) is not int or self.fd < 0:
            return self._general(fd, interest, token)
        if not 0 <= <object>fd < len(self.watched) or not 0 <= <object>interest <= READ | WRITE or self.suspects:
            return self._general(fd, interest, token)
        number, bits = fd, interest
        known = self.watched[number]
        if bits == 0:
            if known is None:
                return None
            if epoll_ctl(self.fd, EPOLL_CTL_DEL, number, &event):
                self.suspects.add(fd)
            self.watched[number] = None
            return None
        event.events = (IN if bits & READ else 0) | (OUT if bits & WRITE else 0)
        event.data.fd = number
        how = EPOLL_CTL_ADD if known is None else EPOLL_CTL_MOD
        if epoll_ctl(self.fd, how, number, &event):
            return self._general(fd, interest, token)  # which also knows numbers that are another file by now
        self.watched[number] = (token, interest)

    cdef _general(self, fd, interest, token):
        engine = self.engine()
        return type(engine).watch(engine, fd, interest, token)

    def close(self):
        """Nothing more is asked of the descriptor."""
        self.fd = -1

    def poll(self, timeout):
        """See `Engine.poll`."""
        cdef list watched = self.watched
        cdef epoll_event events[MOST]
        cdef int found, i, fd, bits
        cdef long wait = -1
        cdef double end = -1.0, left
        cdef tuple pair
        cdef list batch
        if timeout is not None:
            left = timeout
            end = monotonic() + left
            wait = milliseconds(left)
        while True:
            with nogil:  # also for no time at all: nothing else in a turn need let other threads run
                found = epoll_wait(self.fd, events, MOST, <int>wait)
            if found >= 0:
                break
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
            if wait > 0:
                left = end - monotonic()
                wait = milliseconds(left)
        PyErr_CheckSignals()  # as a function of Python would
        batch = []
        for i in range(found):
            fd = events[i].data.fd
            known = watched[fd] if fd < len(watched) else None
            if known is None:
                self.engine()._rebuild()
                return []
            pair = <tuple>known
            if <int>pair[1] == (READ | WRITE):
                bits = events[i].events
                if bits == IN:
                    pair = (pair[0], READ)
                elif bits == OUT:
                    pair = (pair[0], WRITE)
            batch.append(pair)
        return batch


cdef long milliseconds(double seconds):
    """As epoll takes them, rounded up: a wait is never too short."""
    cdef double exact = seconds * 1e3
    if exact <= 0.0:
        return 0
    if exact > 86400e3:
        exact = 86400e3
    cdef long whole = <long>exact
    return whole if whole == exact else whole + 1
