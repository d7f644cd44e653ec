cimport cython

cdef double _NEVER


cdef class TurnTime:
    cdef public double when


cdef class Timed:
    cdef public double _armed
    cdef public long _arming
    cdef public int _place


cdef class Deadlines:
    cdef public set keepers
    cdef list _heap
    cdef long _armings
    cdef bint _whole

    cpdef arm(self, Timed one, double when)
    cpdef disarm(self, Timed one)
    @cython.locals(heap=list, moved=Timed, place=Py_ssize_t)
    cpdef put(self, Timed one, double when)
    @cython.locals(
        heap=list, other=Timed, place=Py_ssize_t, above=Py_ssize_t, below=Py_ssize_t, size=Py_ssize_t
    )
    cdef _sift(self, Timed one)
    @cython.locals(one=Timed)
    cdef _mend(self)
    @cython.locals(one=Timed)
    cpdef clear(self)
    @cython.locals(heap=list, first=Timed)
    cpdef double next(self) except? -1
    @cython.locals(first=Timed, when=double)
    cpdef bint lift(self, double now) except -1


cdef bint _is_before(Timed one, Timed other) except -1
