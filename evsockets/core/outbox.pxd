cimport cython

cdef class Outbox

from evsockets._native cimport Descriptor
from evsockets.core cimport posted
from evsockets.core.channel cimport Channel

cdef int _NO_SIGNAL
cdef Py_ssize_t _COALESCED, _SEND_SIZE


cdef class Outbox:
    cdef public object corked, rest, source, posted, waiters
    cdef public long holds, posted_size
    cdef public double retry_at


@cython.locals(outbox=Outbox)
cpdef Outbox of(Channel channel)
@cython.locals(outbox=Outbox)
cpdef drop(Channel channel)
@cython.locals(outbox=Outbox, corked=bytearray, size=Py_ssize_t, sent=Py_ssize_t, plain=bint, gathers=bint)
cpdef put(Channel channel, data)
@cython.locals(outbox=Outbox)
cpdef bytearray cork(Channel channel)
@cython.locals(plain=Descriptor, sent=Py_ssize_t)
cpdef Py_ssize_t transmit(Channel channel, data) except? -2
@cython.locals(outbox=Outbox, sent=Py_ssize_t)
cpdef bint flush(Channel channel) except -1
cpdef kept(rest)
@cython.locals(outbox=Outbox)
cpdef bint lets_start(Channel channel, following) except -1
cpdef bint has_left(Channel channel) except -1
@cython.locals(outbox=Outbox)
cpdef bint is_refused(Channel channel) except -1
@cython.locals(outbox=Outbox)
cpdef send_failed(Channel channel, error)
cpdef broken(Channel channel)
@cython.locals(outbox=Outbox)
cpdef drop_source(Channel channel)
cpdef bint send_close_notify(Channel channel) except -1
cpdef bint flush_transport(Channel channel) except -1
cpdef bint send_out_of_band(Channel channel, data) except -1
