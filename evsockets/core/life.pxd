cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Stepper

cdef object _CLOSING, _COMPLETE, _CONNECTED, _OPENING, _WAITING


@cython.locals(loop=Loop)
cpdef open(Channel channel, bint again=*)
cpdef open_by(Channel channel, opener)
cpdef opened(Channel channel, bint reused=*)
cdef _first_event(Channel channel, object type)
cdef _take_named(Channel channel)
cpdef fail(Channel channel, error)
cpdef tell_exception(Channel channel, error)
cpdef end(Channel channel, bint orderly=*, bint kept=*, first=*, bug=*)
cpdef finish(Channel channel)
cpdef _abandon(Channel channel)
cpdef _tell_end(Channel channel, trouble, kept)
cdef _finalize(Channel channel, first=*)
@cython.locals(dispatch=Dispatch)
cpdef _tell_finalize(Channel channel)
cdef _release(Channel channel)
cpdef restart(Channel channel)
cdef _close_transport(Channel channel, bint orderly, bint kept=*)
