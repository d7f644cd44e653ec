cimport cython

from evsockets.core cimport interest, closing, io_clock, timeouts
from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Stepper

cdef object _CONNECTED, _OPENING
cdef double _NEVER


@cython.locals(loop=Loop)
cpdef open(Channel channel, bint again=*)
@cython.locals(following=Stepper)
cpdef open_by(Channel channel, Stepper opener)
cpdef opened(Channel channel, bint reused=*)
cdef _first_event(Channel channel, object type)
cdef _take_named(Channel channel)
cpdef restart(Channel channel)
