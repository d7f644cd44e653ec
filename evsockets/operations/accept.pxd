cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation
from evsockets.sockets cimport DatagramClientSocket, _ServersClient

cdef object _UNTOLD
cdef double _NEVER
cdef int _PER_TURN


cdef class Accept(Operation):
    cdef public bint _adopted
    cdef public int _clients, _failures, _left, _refused
    cdef public list _received
    cdef public object interest
    cdef public double _resume_at

    @cython.locals(ch=Channel, loop=Loop)
    cpdef object step(self, channel, mask)
    cpdef double _due(self, channel) except? -1
    cdef _next(self, Channel channel)
    cdef _emptied(self)
    @cython.locals(client=_ServersClient)
    cdef _serve(self, Channel channel, came)
    cdef _failed(self, Channel channel, error)


cdef class AcceptDatagrams(Accept):
    @cython.locals(received=list, most=int)
    cdef _next(self, Channel channel)
    @cython.locals(client=DatagramClientSocket)
    cdef _serve(self, Channel channel, came)
    cdef _failed(self, Channel channel, error)
