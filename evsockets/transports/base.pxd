cdef class Transport:
    cdef public object sock
