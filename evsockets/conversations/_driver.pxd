from cpython.object cimport PyObject


cdef class Driver:
    cdef PyObject *kept  # a StopIteration for all values
    cdef object resume(self, context, coroutine)
    cdef int give(self, value) except -1
    cdef int forget(self) except -1
