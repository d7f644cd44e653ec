cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.operation cimport Operation


cdef class Running(Operation):
    cdef public Channel channel
    cdef public object awaited, context, coroutine, error, fault, frame, name, refusal, scopes, turn, wanted
    cdef public bint ended, ends_by_drain, is_shut, superseded
    cdef public long steps

    @cython.locals(ch=Channel)
    cpdef object start(self, channel)
    cpdef object step(self, channel, mask)
    cpdef follows(self, channel, following)
