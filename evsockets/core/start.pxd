cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop

cdef object _CONNECTED, _OPENING


@cython.locals(loop=Loop)
cpdef open(Channel channel, bint again=*)
cpdef open_by(Channel channel, opener)
cpdef opened(Channel channel, bint reused=*)
cdef _first_event(Channel channel, object type)
cdef _take_named(Channel channel)
cpdef restart(Channel channel)
