cimport cython

from evsockets.core cimport interest, outbox, snapshot
from evsockets.core.channel cimport Channel
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.operation cimport Stepper

cdef object _CLOSING, _COMPLETE, _CONNECTED, _DEAF, _IDLE, _UNTOLD, _WAITING
cdef double _NEVER


cpdef nothing_next(Channel channel)
cpdef fail(Channel channel, error)
cpdef tell_exception(Channel channel, error)
cpdef end(Channel channel, bint orderly=*, bint kept=*, first=*, bug=*)
cpdef finish(Channel channel)
@cython.locals(stepper=Stepper, operation=Stepper)
cpdef _abandon(Channel channel)
cpdef abandon(Channel channel, Stepper stepper, Stepper operation)
cpdef _tell_end(Channel channel, trouble, kept)
cdef _finalize(Channel channel, first=*)
@cython.locals(dispatch=Dispatch)
cpdef _tell_finalize(Channel channel)
cdef _release(Channel channel)
@cython.locals(stepper=Stepper)
cpdef close_transport(Channel channel, bint orderly, bint kept=*)
