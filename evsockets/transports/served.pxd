cdef class Datagram:
    cdef public object data, remote, asked

    cpdef Datagram answered(self, data)
