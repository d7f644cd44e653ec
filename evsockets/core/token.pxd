from evsockets.core.deadlines cimport Timed


cdef class Token(Timed):
    cdef public object stepper
    cdef public long watched
    cdef public bint indirect

    cpdef advance(self, following)
