from evsockets.core.deadlines cimport Timed

cdef extern from *:
    ctypedef bint flag "unsigned char"  # of which a channel has many


cdef class Token(Timed):
    cdef public object stepper
    cdef public short watched
    cdef public flag indirect

    cpdef advance(self, following)
