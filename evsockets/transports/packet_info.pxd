cimport cython

from evsockets.transports.base cimport Transport


cdef class Datagram:
    cdef public object data, remote, asked

    @cython.locals(answer=Datagram)
    cpdef Datagram answered(self, data)


cdef class DatagramReply(Transport):
    cdef public Datagram _datagram
    cdef public object _server
    cdef public bint _read, at_end


@cython.locals(reply=DatagramReply)
cpdef DatagramReply reply_to(server, Datagram datagram)
