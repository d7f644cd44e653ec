cimport cython

from evsockets.core cimport start
from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop

cdef object _OK, _FULL, _FREE, _CONSTANT
cdef double _NEVER, _AT_ONCE


cdef class Admission:
    cdef public Loop _loop
    cdef public object waiting
    cdef public set _refused
    cdef public long _waiting_listeners, running, clients
    cdef public bint ask
    cdef public double _ask_at

    cpdef double due(self) except? -1
    cpdef enqueue(self, Channel channel)
    cpdef dequeue(self, Channel channel)
    @cython.locals(loop=Loop, channel=Channel, free=bint, full=bint, skipped=list)
    cpdef admit(self)
    @cython.locals(loop=Loop)
    cdef _decide(self, Channel channel, long waiting)
    @cython.locals(loop=Loop)
    cdef _start(self, Channel channel)
    @cython.locals(loop=Loop)
    cpdef ended(self, Channel channel)
