cimport cython

from evsockets.core.admission cimport Admission
from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport Deadlines
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Stepper
from evsockets.core.token cimport Token


cdef double _NEVER, _AT_ONCE, _LONGEST_WAIT, _FRESH
cdef list _NOBODY


cpdef execute(Loop loop, context, until_stopped)
@cython.locals(admission=Admission)
cpdef bint take_turn(Loop loop, timeout) except -1
@cython.locals(
    token=Token, stepper=Stepper, channel=Channel, admission=Admission, now=double, when=double, wait=double,
    batch=list, ready=list
)
cdef _turn(Loop loop, timeout)
cdef _all_ready(Loop loop, batch)
@cython.locals(deadlines=Deadlines)
cdef _expire(Loop loop, double now)
