from cpython.object cimport PyObject


cdef class Descriptor:
    cdef readonly object sock
    cdef int fd
    cdef int much  # came at the last receive: 0 little, 1 a lot, 2 at least all that there was room for
    cpdef object recv(self, Py_ssize_t size)
    cpdef Py_ssize_t send(self, data, int flags) except? -1


cdef class Clock:
    cdef readonly object source
    cdef bint plain
    cpdef double read(self) except? -1


cdef class ReceiveBuffer:
    cdef char memory[65536]
    cdef Py_ssize_t start, size
    cpdef Py_ssize_t receive(self, Descriptor sock) except -2
    cpdef part(self, Py_ssize_t start, Py_ssize_t stop)
    cpdef bytes head(self, Py_ssize_t size)


cdef class Driver:
    cdef PyObject *kept  # a StopIteration for all values
    cdef object resume(self, context, coroutine)
    cdef int give(self, value) except -1
