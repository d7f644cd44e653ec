cimport cython

from evsockets._native cimport Descriptor, ReceiveBuffer
from evsockets.transports.stream cimport StreamTransport

cdef int _READ, _WRITE, _QUIET
cdef Py_ssize_t _RECORD_SIZE, _SEND_LIMIT, _SEND_SLICE, _EMPTY_READS
cdef list _spare


cdef ReceiveBuffer _borrowed()


cdef class TlsRecords(StreamTransport):
    cdef object _incoming, _outgoing, _tls, _cipher, _backlog, _failure, _reset, _lost
    cdef bytes _stash
    cdef Descriptor _plain
    cdef bint _ended, _established, _require_end, _shut
    cdef public bint pending
    cdef public int wants
    cdef public Py_ssize_t most, unflushed

    @cython.locals(buffer=ReceiveBuffer)
    cpdef recv(self)
    @cython.locals(data=bytes)
    cdef _recv(self, ReceiveBuffer buffer)
    cpdef bint _is_choked(self) except -1
    @cython.locals(most=Py_ssize_t, size=Py_ssize_t, asked=Py_ssize_t, got=Py_ssize_t)
    cpdef bytes _decrypt(self, ReceiveBuffer buffer)
    cdef _fail(self, error, Py_ssize_t size)
    cpdef _note_pending(self)
    @cython.locals(buffer=ReceiveBuffer)
    cpdef bint _fill(self) except -1
    @cython.locals(count=Py_ssize_t)
    cdef bint _receive(self, ReceiveBuffer buffer) except -1
    cdef _hung_up(self)
    @cython.locals(total=Py_ssize_t, sent=Py_ssize_t, whole=Py_ssize_t)
    cpdef Py_ssize_t send(self, data) except -1
    @cython.locals(waited=Py_ssize_t, count=Py_ssize_t, all_read=bint)
    cpdef bint flush(self) except -1
    cpdef bint flush_quietly(self) except -1
