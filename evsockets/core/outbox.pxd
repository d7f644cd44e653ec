cimport cython

from evsockets._native cimport Descriptor
from evsockets.core cimport interest
from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation

cdef object _CONNECTED
cdef int _NO_SIGNAL
cdef Py_ssize_t _ITEMS, _JOINED, _PER_TURN, _PULLED_PER_TURN, _SEND_SIZE


cdef class Outbox:
    cdef public object queue, waiters
    cdef public Py_ssize_t holds, size
    cdef public bint corked
    cdef public double retry_at


@cython.locals(outbox=Outbox)
cpdef Outbox of(Channel channel)
@cython.locals(outbox=Outbox)
cpdef drop(Channel channel)
@cython.locals(outbox=Outbox, size=Py_ssize_t, taken=Py_ssize_t, gathers=bint)
cpdef put(Channel channel, data)
@cython.locals(outbox=Outbox, gathers=bint)
cpdef put_each(Channel channel, items)
@cython.locals(outbox=Outbox)
cpdef bint _gathers(Channel channel) except -1
@cython.locals(outbox=Outbox)
cpdef Outbox add(Channel channel, item, Py_ssize_t size)
cpdef keep(Channel channel, data, Py_ssize_t taken=*)
@cython.locals(outbox=Outbox, before=Py_ssize_t)
cpdef post(Channel channel, data)
cpdef _begin_posts(Channel channel)
@cython.locals(channel=Channel)
cpdef send_posts(Loop loop)
cpdef _send_posts(Channel channel)
@cython.locals(plain=Descriptor, taken=Py_ssize_t)
cpdef Py_ssize_t transmit(Channel channel, data) except? -2
cpdef sent(Channel channel, Py_ssize_t size)
@cython.locals(
    outbox=Outbox, plain=bint, total=Py_ssize_t, size=Py_ssize_t, taken=Py_ssize_t, waited=Py_ssize_t,
    unflushed=Py_ssize_t
)
cpdef bint flush(Channel channel) except -1
@cython.locals(size=Py_ssize_t, number=Py_ssize_t, datagram=bint, ended=bint, data=bytes)
cpdef bint _pull(Channel channel, Outbox outbox, Py_ssize_t place=*) except -1
cpdef _replace(Outbox outbox, Py_ssize_t place, list items, Py_ssize_t size, bint ended)
cpdef _leave(Outbox outbox, Py_ssize_t size)
@cython.locals(size=Py_ssize_t, count=Py_ssize_t)
cpdef _joined(Outbox outbox)
cpdef _kept(data, Py_ssize_t taken)
@cython.locals(outbox=Outbox)
cpdef bint is_refused(Channel channel) except -1
@cython.locals(outbox=Outbox)
cpdef bint has_left(Channel channel) except -1
cpdef bint lets_start(Channel channel, Outbox outbox, Operation following) except -1
cpdef bint is_empty(Channel channel) except -1
@cython.locals(outbox=Outbox, own=Py_ssize_t)
cpdef Py_ssize_t unsent(Channel channel) except? -1
@cython.locals(outbox=Outbox)
cpdef cut(Channel channel)
@cython.locals(outbox=Outbox)
cpdef break_off(Channel channel)
@cython.locals(outbox=Outbox)
cpdef send_failed(Channel channel, error)
