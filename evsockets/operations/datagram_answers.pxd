cimport cython

from evsockets.core.channel cimport Channel
from evsockets.transports.packet_info cimport Datagram


cdef class Answers:
    cdef public list _fresh
    cdef public dict _kept

    @cython.locals(fresh=list)
    cpdef send(self, Channel channel)
    @cython.locals(one=Datagram, done=Py_ssize_t, number=Py_ssize_t)
    cdef Py_ssize_t _transmit(self, Channel channel, datagrams) except -1
