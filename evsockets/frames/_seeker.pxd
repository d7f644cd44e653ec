cdef class Seeker:
    cdef readonly bytes marker
    cdef readonly Py_ssize_t size
    cdef char first, second

    cpdef Py_ssize_t find(self, bytes data, Py_ssize_t start) except -2
