cimport cython

from evsockets.core cimport interest
from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Stepper
from evsockets.core.token cimport Token
from evsockets.engines cimport asking

cdef object _INET, _INET6, _LOOPBACK, _ON_ITS_WAY, _UNIX
cdef double _DELAY, _PAUSE, _LONGEST_PAUSE
cdef int _CONNECTED, _DATAGRAM, _IN_PROGRESS, _STREAM, _WRITE


cdef class Attempt(Token):
    cdef public Channel channel
    cdef public Loop loop
    cdef public object candidate, sock

    cpdef close(self)


cdef class Connect(Stepper):
    cdef public object _address, _doing, _then, _waiting
    cdef public list _attempts, _failures
    cdef public bint _connects
    cdef public int _kind
    cdef public double _next_at, _pause

    @cython.locals(ch=Channel, loop=Loop, number=int, attempt=Attempt)
    cpdef object start(self, channel)
    @cython.locals(number=int, attempt=Attempt)
    cpdef object step(self, channel, mask)
    @cython.locals(channel=Channel)
    cpdef decided(self, Attempt attempt, trouble)
    cdef _fail(self, Attempt attempt, error)
    @cython.locals(channel=Channel)
    cdef _succeed(self, Attempt attempt)
    cpdef double _due(self, channel) except? -1
    cpdef _abandon(self, channel)
    @cython.locals(channel=Channel)
    cdef _trouble(self, Attempt attempt, int number)
