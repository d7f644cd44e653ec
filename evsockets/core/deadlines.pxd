cimport cython


cdef class TurnTime:
    cdef public double when


cdef class Timed:
    cdef public object _armed


cdef class Deadlines:
    cdef public set keepers
    cdef list _heap
    cdef long _armings, _dead

    cpdef arm(self, Timed one, when)
    cpdef disarm(self, Timed one)
    @cython.locals(heap=list, entry=tuple, first=Timed)
    cpdef double next(self) except? -1
