from evsockets.transports.base cimport Transport


cdef class StreamTransport(Transport):
    cdef public bint acknowledges
