cimport cython

from evsockets.core cimport posted
from evsockets.core.channel cimport Channel


@cython.freelist(8)
cdef class Outbox:
    cdef public object corked, rest, source, posted, waiters
    cdef public long holds, posted_size


@cython.locals(outbox=Outbox)
cpdef Outbox of(Channel channel)
@cython.locals(outbox=Outbox)
cpdef drop(Channel channel)
cpdef put(Channel channel, data)
cpdef cork(Channel channel)
cpdef Py_ssize_t transmit(Channel channel, data) except? -2
cpdef bint flush(Channel channel) except -1
cpdef kept(rest)
cpdef bint lets_start(Channel channel, following) except -1
cpdef bint has_left(Channel channel) except -1
cpdef bint is_refused(Channel channel) except -1
cpdef send_failed(Channel channel, error)
cpdef broken(Channel channel)
cpdef drop_source(Channel channel)
cpdef bint send_close_notify(Channel channel) except -1
cpdef bint flush_transport(Channel channel) except -1
cpdef bint send_out_of_band(Channel channel, data) except -1
