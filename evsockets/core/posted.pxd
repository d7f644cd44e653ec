cimport cython

from evsockets.core cimport interest, outbox
from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.outbox cimport Outbox

cdef object _CONNECTED


@cython.locals(box=Outbox, before=Py_ssize_t)
cpdef post(Channel channel, data)
cpdef _begin(Channel channel, Outbox box)
@cython.locals(box=Outbox)
cpdef hold(Channel channel)
cpdef write_behind(Channel channel, data)
@cython.locals(box=Outbox)
cpdef break_off(Channel channel)
@cython.locals(box=Outbox, share=Py_ssize_t, sent=Py_ssize_t)
cpdef bint flush(Channel channel) except -1
@cython.locals(sent=Py_ssize_t)
cpdef bint _flush_one(Channel channel, Outbox box, data) except -1
@cython.locals(size=Py_ssize_t, count=Py_ssize_t)
cpdef _join(Outbox box)
cpdef _taken(Outbox box, Py_ssize_t size)
@cython.locals(box=Outbox, size=Py_ssize_t)
cpdef Py_ssize_t unsent(Channel channel) except? -1
@cython.locals(channel=Channel)
cpdef flush_all(Loop loop)
