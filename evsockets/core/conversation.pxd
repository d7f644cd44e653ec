cimport cython

from evsockets.core._driver cimport Driver
from evsockets.core.channel cimport Channel
from evsockets.core.operation cimport Operation

cdef Driver _driver


cdef class Running(Operation):
    cdef public Channel channel
    cdef public object awaited, context, coroutine, drainable, error, fault, frame, name, refusal, scopes
    cdef public object turn, wanted
    cdef public bint ended, is_shut, superseded
    cdef public int unawaited
    cdef public long steps

    cpdef ask(self, operation)
    @cython.locals(ch=Channel)
    cpdef object start(self, channel)
    cpdef object step(self, channel, mask)
    cpdef bint _runs_ahead(self) except -1
    cpdef follows(self, channel, following)
