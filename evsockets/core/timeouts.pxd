cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport Deadlines, TurnTime
from evsockets.core.loop cimport Loop
from evsockets.settings cimport Settings

cdef object _OPENING, _IO, _REQUEST
cdef dict _ACTS


@cython.locals(settings=Settings, start=TurnTime, timed=bint)
cpdef tuple first_passing(Channel channel)
cpdef tuple earliest(Channel channel)
cpdef arm(Channel channel)
@cython.locals(heap=Deadlines)
cpdef bint lift(Loop loop, double now, bint early=*) except -1
cpdef expire(Loop loop, double now)
cpdef surfaced(Channel channel, arrived, double now)
