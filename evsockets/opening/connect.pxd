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


cdef class Connect(Stepper):
    cdef public object _address, _doing, _sock, _waiting
    cdef public list _attempts, _failures
    cdef public bint _connects
    cdef public int _kind
    cdef public double _next_at, _pause

    @cython.locals(ch=Channel, loop=Loop, number=int)
    cpdef object start(self, channel)
    cpdef drop(self, attempt, error)
    cpdef _fail(self, candidate, error, double now)
    cpdef succeed(self, Channel channel, candidate, sock, winner=*)
    cpdef object step(self, channel, mask)
    cpdef double _due(self, channel) except? -1
    cpdef _abandon(self, channel)
    cdef _trouble(self, Channel channel, sock, sockaddr, int number)


cdef class Attempting(Stepper):
    cpdef object step(self, channel, mask)


cdef class Attempt(Token):
    cdef public Connect _connect
    cdef public Channel channel
    cdef public Loop loop
    cdef public object candidate, sock

    @cython.locals(number=int)
    cpdef step(self, token, mask)
    @cython.locals(channel=Channel, connect=Connect)
    cdef _decide(self, int number)
    cpdef close(self)
