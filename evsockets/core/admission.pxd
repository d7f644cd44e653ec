cdef class Admission:
    cdef public object _loop, waiting
    cdef public dict _refused
    cdef public long _waiting_listeners, running, clients
    cdef public bint ask
    cdef public double _ask_at

    cpdef double due(self) except? -1
    cpdef enqueue(self, channel)
    cpdef dequeue(self, channel)
    cpdef admit(self)
    cpdef _start(self, channel)
    cpdef ended(self, channel)
