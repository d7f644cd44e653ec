from evsockets.core.operation cimport Operation


cdef class Task(Operation):
    cdef public Operation awaited
    cdef public object frame
    cdef public bint is_shut, superseded

    cpdef follows(self, channel, following)
    cpdef goes_on(self, channel, read)
    cpdef tell(self, handler, event, bint beside=*)
    cpdef bint catches(self, error) except -1
    cpdef bint is_sending(self) except -1
    cpdef drain(self, channel)
    cpdef forked(self)
    cpdef end(self)
