cimport cython


@cython.freelist(64)
cdef class Datagram:
    cdef public object data, remote, asked

    cpdef Datagram answered(self, data)
