cimport cython

from evsockets.core cimport interest, closing, io_clock
from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport TurnTime
from evsockets.core.operation cimport Stepper
from evsockets.core.outbox cimport Outbox
from evsockets.settings cimport Settings

cdef object _OPENING, _CONNECTED, _CONNECTION, _IDLE, _IO, _REQUEST
cdef double _NEVER, _AT_ONCE


@cython.locals(
    settings=Settings, start=TurnTime, stepper=Stepper, first=double, within=double, due=double
)
cpdef tuple first_passing(Channel channel)
@cython.locals(stepper=Stepper, box=Outbox, first=double, when=double)
cpdef tuple earliest(Channel channel, double now)
cpdef arm(Channel channel)
@cython.locals(when=double, again=double)
cpdef surfaced(Channel channel, arrived, double now)
