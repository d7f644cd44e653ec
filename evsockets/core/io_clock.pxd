cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport TurnTime
from evsockets.settings cimport Settings

cdef object _CONNECTED


cdef class Look(TurnTime):
    cdef public double at
    cdef public object unacknowledged


@cython.locals(settings=Settings, looks=bint)
cpdef limit_io(Channel channel)
cpdef bint is_timed(Channel channel) except -1
cpdef double look_due(Channel channel) except? -1
cpdef look(Channel channel, double now, bint early=*)
cpdef excuse(Channel channel, double began)
