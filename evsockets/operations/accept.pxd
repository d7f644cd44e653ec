cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation
from evsockets.sockets cimport DatagramClientSocket, _ServersClient
from evsockets.transports.packet_info cimport Datagram


cdef class Accept(Operation):
    cdef public object _adopted, _failures, _left, _refused, interest
    cdef public double _resume_at

    @cython.locals(ch=Channel)
    cpdef object step(self, channel, mask)
    cpdef double _due(self, channel) except? -1
    cdef _next(self, Channel channel)
    cdef _emptied(self)
    cdef _tell(self, Channel channel, _ServersClient client)
    cdef _failed(self, Channel channel, error)


cdef class AcceptDatagrams(Accept):
    cdef public object _clients

    cdef _next(self, Channel channel)
    cdef _emptied(self)
    cdef _tell(self, Channel channel, _ServersClient client)
    cdef _failed(self, Channel channel, error)


@cython.locals(client=DatagramClientSocket)
cdef client_of(Channel channel, Datagram datagram)
