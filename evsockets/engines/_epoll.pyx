"""Watching descriptors with epoll, and waiting for them, by C calls: what `SelectorsEngine` does in Python."""

from weakref import ref

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM
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
    KEPT = 512  # a power of two

cdef object ONE = 1, TWO = 2, THREE = 3


cdef class Epoll:
    """`engine`'s epoll object `fd`; `tokens`, `interests` and `suspects` are the engine's own, see
    `SelectorsEngine`.

    What is not usual the engine does itself, in Python.
    """

    cdef int fd
    cdef list tokens
    cdef bytearray interests
    cdef set suspects
    # The pairs last told, by the end of the descriptor's number: to make one takes 200 instructions, and one
    # kept for each descriptor 64 bytes of every idle one.
    cdef list recent
    cdef object engine

    def __init__(self, engine, int fd, list tokens, bytearray interests, set suspects):
        self.engine = ref(engine)
        self.fd = fd
        self.tokens = tokens
        self.interests = interests
        self.suspects = suspects
        self.recent = [None] * KEPT

    def watch(self, fd, interest, token):
        """See `Engine.watch`."""
        cdef epoll_event event
        cdef int number, bits, how
        self._forget(fd)
        if type(fd) is not int or type(interest) is not int or self.fd < 0:
            return self._general(fd, interest, token)
        if not 0 <= <object>fd < PyByteArray_GET_SIZE(self.interests) or not 0 <= <object>interest <= READ | WRITE or self.suspects:
            return self._general(fd, interest, token)
        number, bits = fd, interest
        cdef bint known = PyByteArray_AS_STRING(self.interests)[number] != 0
        if bits == 0:
            if not known:
                return None
            if epoll_ctl(self.fd, EPOLL_CTL_DEL, number, &event):
                self.suspects.add(fd)
            PyByteArray_AS_STRING(self.interests)[number] = 0
            self.tokens[number] = None
            return None
        event.events = (IN if bits & READ else 0) | (OUT if bits & WRITE else 0)
        event.data.fd = number
        how = EPOLL_CTL_MOD if known else EPOLL_CTL_ADD
        if epoll_ctl(self.fd, how, number, &event):
            return self._general(fd, interest, token)  # which also knows numbers that are another file by now
        PyByteArray_AS_STRING(self.interests)[number] = <char>bits
        self.tokens[number] = token  # last: the former one's destructor may close this, or watch more

    cdef _forget(self, fd):
        """Refer to what was watched there no more."""
        cdef Py_ssize_t place
        if isinstance(fd, int):
            place = (<object>fd) & (KEPT - 1)
            if self.recent[place] is not None:
                self.recent[place] = None

    cdef _general(self, fd, interest, token):
        engine = self.engine()
        return type(engine).watch(engine, fd, interest, token)

    def close(self):
        """Nothing more is asked of the descriptor."""
        self.fd = -1
        self.recent[:] = [None] * KEPT

    def poll(self, timeout):
        """See `Engine.poll`."""
        cdef list tokens = self.tokens
        cdef bytearray interests = self.interests
        cdef epoll_event events[MOST]
        cdef int found, i, fd, bits, interest
        cdef long wait = -1
        cdef double end = -1.0, left
        cdef list batch
        cdef list recent = self.recent
        cdef object token, mask, known
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
        batch = PyList_New(found)
        for i in range(found):
            fd = events[i].data.fd
            # Asked for each: where a remembered pair is freed, a token's destructor may close this.
            interest = PyByteArray_AS_STRING(interests)[fd] if fd < PyByteArray_GET_SIZE(interests) else 0
            if interest == 0 or fd >= PyList_GET_SIZE(tokens):
                batch = None  # half of it is empty
                if self.fd >= 0:
                    self.engine()._rebuild()
                return []
            if interest == READ | WRITE:
                bits = events[i].events
                if bits == IN:
                    interest = READ
                elif bits == OUT:
                    interest = WRITE
            token = <object>PyList_GET_ITEM(tokens, fd)
            mask = ONE if interest == READ else TWO if interest == WRITE else THREE
            known = <object>PyList_GET_ITEM(recent, fd & (KEPT - 1))
            if known is None or <object>PyTuple_GET_ITEM(known, 0) is not token \
                    or <object>PyTuple_GET_ITEM(known, 1) is not mask:
                known = recent[fd & (KEPT - 1)] = (token, mask)
            Py_INCREF(known)
            PyList_SET_ITEM(batch, i, known)
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
