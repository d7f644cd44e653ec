cimport cython

cdef double _NEVER
cdef object _pop, _push


cdef class TurnTime:
    cdef public double when


cdef class Timed:
    cdef public double _armed


cdef class Deadlines:
    cdef public set keepers
    cdef list _heap
    cdef long _armings, _dead

    cpdef arm(self, Timed one, double when)
    cpdef disarm(self, Timed one)
    @cython.locals(entry=tuple, live=list, one=Timed, when=double)
    cpdef sweep(self)
    @cython.locals(heap=list, entry=tuple, first=Timed, when=double)
    cpdef double next(self) except? -1
