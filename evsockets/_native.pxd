from cpython.object cimport PyObject


cdef class Descriptor:
    cdef readonly object sock
    cdef int fd
    cdef bint much  # came at the last receive
    cpdef object recv(self, Py_ssize_t size)
    cpdef Py_ssize_t send(self, data, int flags) except? -1


cdef class Clock:
    cdef readonly object source
    cdef bint plain
    cpdef double read(self) except? -1


cdef class Driver:
    cdef PyObject *kept  # a StopIteration for all values
    cdef object resume(self, context, coroutine)
    cdef int give(self, value) except -1
