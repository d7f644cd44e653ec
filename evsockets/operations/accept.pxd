cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation


cdef class Accept(Operation):
    cdef public object _adopted, _failures, _left, _paused, _resume_at, interest

    @cython.locals(ch=Channel, loop=Loop)
    cpdef object step(self, channel, mask)
    cpdef _due(self, channel)
