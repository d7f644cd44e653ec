from evsockets.transports.base cimport Transport


cdef class Datagram:
    cdef public object data, remote, asked

    cpdef Datagram answered(self, data)


cdef class DatagramReply(Transport):
    cdef public object _asked, _data, _remote, _server
    cdef public bint at_end


@cython.locals(reply=DatagramReply)
cpdef DatagramReply reply_to(server, data, remote, asked=*)
