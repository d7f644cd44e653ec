cimport cython

from evsockets.core cimport interest, outbox, snapshot
from evsockets.core.channel cimport Channel
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.operation cimport Stepper

cdef object _CLOSING, _COMPLETE, _CONNECTED, _DEAF, _IDLE, _OPENING, _UNTOLD, _WAITING
cdef double _NEVER


cpdef nothing_next(Channel channel)
cpdef fail(Channel channel, error)
cpdef end(Channel channel, bint orderly=*, bint kept=*)
cpdef finish(Channel channel)
@cython.locals(bugs=list, over=bint)
cdef _end(Channel channel, bint orderly, bint kept, error)
cdef _tell_failure(Channel channel, error)
cpdef tell_exception(Channel channel, error)
cpdef tell_raised(Channel channel, error)
@cython.locals(stepper=Stepper, operation=Stepper)
cdef _disconnect(Channel channel, bint orderly, bint kept)
cpdef abandon(Channel channel, Stepper stepper, Stepper operation)
@cython.locals(dispatch=Dispatch)
cdef _finalize(Channel channel)
cdef _release(Channel channel)
@cython.locals(stepper=Stepper)
cpdef close_transport(Channel channel, bint orderly, bint kept=*)
