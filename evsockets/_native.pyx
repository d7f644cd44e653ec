"""Receiving, sending, the clock and coroutines without a detour through the standard library's modules."""

import time
from _socket import socket

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
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

cdef extern from *:
    """
    /* Raise StopIteration(value): with *kept, unless somebody else has that. */
    static int evsockets_give(PyObject **kept, PyObject *value)
    {
        if (*kept == NULL || Py_REFCNT(*kept) != 1) {
            PyObject *fresh = PyObject_CallOneArg(PyExc_StopIteration, Py_None);
            if (fresh == NULL)
                return -1;
            Py_XSETREF(*kept, fresh);
        }
        Py_INCREF(value);
        Py_XSETREF(((PyStopIterationObject *)*kept)->value, value);
        Py_INCREF(*kept);
    #if PY_VERSION_HEX >= 0x030C0000
        PyErr_SetRaisedException(*kept);
    #else
        Py_INCREF(PyExc_StopIteration);
        PyErr_Restore(PyExc_StopIteration, *kept, NULL);
    #endif
        return 0;
    }

    /* Keep no value alive, nor what has caught it. */
    static void evsockets_forget(PyObject **kept)
    {
        PyStopIterationObject *stop = (PyStopIterationObject *)*kept;
        if (stop == NULL || stop->value == Py_None)
            return;
        if (Py_REFCNT(stop) != 1 || stop->traceback != NULL || stop->context != NULL)
            Py_CLEAR(*kept);
        else {
            Py_INCREF(Py_None);
            Py_XSETREF(stop->value, Py_None);
        }
    }

    /* context.run(coroutine.send, None) */
    static PyObject *evsockets_resume(PyObject *context, PyObject *coroutine)
    {
        PyObject *found = NULL;
        PySendResult how;
        if (PyContext_Enter(context) < 0)
            return NULL;
        how = PyIter_Send(coroutine, Py_None, &found);
        if (PyContext_Exit(context) < 0) {
            Py_XDECREF(found);
            return NULL;
        }
        if (how == PYGEN_RETURN) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, found);
            Py_DECREF(found);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
            return NULL;
        }
        return found;
    }
    """
    int c_give "evsockets_give"(PyObject **kept, object value) except -1
    void c_forget "evsockets_forget"(PyObject **kept)
    object c_resume "evsockets_resume"(object context, object coroutine)

cdef enum:
    CHUNK = 65536  # above it a send lets other threads run


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


cdef class Driver:
    """Has coroutines go on, and ends what they await with a value, without an exception for each."""

    def __dealloc__(self):
        Py_XDECREF(self.kept)

    cdef object resume(self, context, coroutine):
        try:
            return c_resume(context, coroutine)
        finally:
            c_forget(&self.kept)

    cdef int give(self, value) except -1:
        return c_give(&self.kept, value)  # the caller, a `__next__`, returns without another one
