cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport TurnTime
from evsockets.settings cimport Settings

cdef object _CONNECTED
cdef double _NEVER


cdef class Look(TurnTime):
    cdef public double at
    cdef public object unacknowledged


@cython.locals(settings=Settings, looks=bint)
cpdef limit_io(Channel channel)
cpdef double look_due(Channel channel) except? -1
@cython.locals(when=double, at=double)
cpdef look(Channel channel)
cpdef excuse(Channel channel, double began)
