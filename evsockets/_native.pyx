"""Receiving, sending, the clock and coroutines without a detour through the standard library's modules."""

import time
from _socket import socket

from cython cimport no_gc
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.ref cimport PyObject, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    char *start_of "PyBytes_AS_STRING"(PyObject *data)
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1


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
    LARGE = 262144  # what is received after a whole chunk: the next one is probably waiting

MOST_RECEIVED = LARGE


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
        cdef PyObject *data = NULL
        cdef ssize_t got
        size = min(size, LARGE if self.much > 1 else CHUNK)
        if self.fd < 0:
            return self.sock.recv(size)
        if self.much:  # what is received into the bytes themselves is not copied
            data = new_bytes(NULL, size)
            room = start_of(data)
        try:
            while True:
                got = c_recv(self.fd, room, size, 0)
                if got >= 0:
                    break
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
                PyErr_CheckSignals()
            if data is not NULL and got < size:
                _PyBytes_Resize(&data, got)
        except:
            Py_XDECREF(data)
            raise
        self.much = 2 if got >= CHUNK else 4 * got > CHUNK
        return PyBytes_FromStringAndSize(small, got) if data is NULL else given(data)

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


cdef class ReceiveBuffer:
    """64 KiB of memory to receive into; `part` lends a part of it, as an object with the buffer protocol.

    It lends one part at a time: each call of `part` takes the place of the one before.
    """

    cpdef Py_ssize_t receive(self, Descriptor sock) except -2:
        """How many bytes `sock` had, 0 at the end of the stream, -1 if there is nothing now."""
        cdef ssize_t got
        if sock.fd < 0:
            self.start, self.size = 0, CHUNK
            try:
                return sock.sock.recv_into(self)
            except BlockingIOError:
                return -1
        while True:
            got = c_recv(sock.fd, self.memory, CHUNK, 0)
            if got >= 0:
                return got
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()

    cpdef part(self, Py_ssize_t start, Py_ssize_t stop):
        """The bytes from `start` to `stop`, to be read or written by who takes a buffer."""
        if not 0 <= start <= stop <= CHUNK:
            raise ValueError(f"a part of {CHUNK} bytes is asked for, not {start} to {stop}")
        self.start, self.size = start, stop - start
        return self

    cpdef bytes head(self, Py_ssize_t size):
        """A copy of the first `size` bytes."""
        if not 0 <= size <= CHUNK:
            raise ValueError(f"{size} of {CHUNK} bytes are asked for")
        return PyBytes_FromStringAndSize(self.memory, size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory + self.start, self.size, 0, flags)


cdef object given(PyObject *data):
    """`data`, whose one reference is given away."""
    result = <object>data
    Py_XDECREF(data)
    return result


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
