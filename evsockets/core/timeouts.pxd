cimport cython

from evsockets.core cimport interest, closing, io_clock
from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport TurnTime
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Stepper
from evsockets.settings cimport Settings

cdef object _OPENING, _CONNECTION, _IDLE, _IO, _REQUEST, _SCOPE
cdef double _NEVER
cdef dict _ACTS


@cython.locals(
    settings=Settings, start=TurnTime, stepper=Stepper, timed=bint, first=double, within=double
)
cpdef tuple first_passing(Channel channel)
@cython.locals(stepper=Stepper, timed=bint, first=double, when=double)
cpdef tuple earliest(Channel channel)
cpdef arm(Channel channel)
cpdef expire(Loop loop, double now)
cpdef surfaced(Channel channel, arrived, double now)
