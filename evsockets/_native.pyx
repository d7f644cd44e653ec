"""Receiving, sending and the clock without a detour through the standard library's modules."""

import time
from _socket import socket

from cython cimport no_gc
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, errno

cdef extern from "sys/socket.h" nogil:
    ssize_t c_recv "recv" (int fd, void *data, size_t size, int flags)
    ssize_t c_send "send" (int fd, const void *data, size_t size, int flags)

cdef extern from *:
    """
    #include <time.h>
    #ifdef __linux__
    #define EVSOCKETS_LINUX 1
    static double evsockets_monotonic(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return ((double)t.tv_sec * 1e9 + (double)t.tv_nsec) / 1e9;
    }
    #else
    #define EVSOCKETS_LINUX 0
    static double evsockets_monotonic(void) { return 0.0; }
    #endif
    """
    bint ON_LINUX "EVSOCKETS_LINUX"
    double monotonic "evsockets_monotonic"()

cdef enum:
    CHUNK = 65536  # above it a send lets other threads run


@no_gc  # of a plain socket, which refers to nothing
cdef class Descriptor:
    """A non-blocking socket's descriptor: `recv` and `send` as the socket itself has them.

    What is no socket of the standard library's is asked itself.
    """

    def __init__(self, sock):
        self.sock = sock
        self.fd = sock.fileno() if isinstance(sock, socket) else -1

    def fileno(self):
        """The descriptor, -1 once closed."""
        return self.sock.fileno()

    cpdef object recv(self, Py_ssize_t size):
        cdef char small[CHUNK]
        cdef char *room = small
        cdef bytes data = None
        cdef ssize_t got
        if self.fd < 0:
            return self.sock.recv(size)
        if size > CHUNK:
            size = CHUNK
        if self.much:  # what is received into the bytes themselves is not copied
            data = PyBytes_FromStringAndSize(NULL, size)
            room = PyBytes_AS_STRING(data)
        while True:
            got = c_recv(self.fd, room, size, 0)
            if got >= 0:
                self.much = 4 * got > CHUNK
                if data is None:
                    return PyBytes_FromStringAndSize(small, got)
                return data if got == size else data[:got]
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()

    cpdef Py_ssize_t send(self, data, int flags) except? -1:
        cdef Py_buffer view
        cdef ssize_t sent
        cdef const void *start
        cdef size_t size
        cdef bint whole = PyBytes_CheckExact(data)
        if self.fd < 0:
            return self.sock.send(data, flags)
        if whole:
            start = PyBytes_AS_STRING(data)
            size = PyBytes_GET_SIZE(data)
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            start = view.buf
            size = view.len
        try:
            while True:
                if size < CHUNK:
                    sent = c_send(self.fd, start, size, flags)
                else:
                    with nogil:
                        sent = c_send(self.fd, start, size, flags)
                if sent >= 0:
                    return sent
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
                PyErr_CheckSignals()
        finally:
            if not whole:
                PyBuffer_Release(&view)


cdef class Clock:
    """Reads `source`, a callable that gives seconds; where that is `time.monotonic`, without calling it."""

    def __init__(self, source):
        self.source = source
        self.plain = ON_LINUX and source is time.monotonic

    cpdef double read(self) except? -1:
        return monotonic() if self.plain else self.source()
