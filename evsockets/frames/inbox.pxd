cimport cython

from evsockets.frames._seeker cimport Seeker


cdef class Inbox:
    cdef public object _chunk
    cdef public Py_ssize_t _offset
    cdef public dict _searched
    cdef public object remote_address, _arrived

    cpdef _append(self, data)
    @cython.locals(offset=Py_ssize_t)
    cpdef bytes peek(self, n, start=*)
    cpdef bytes take(self, n)
    cpdef bytes _take_whole(self)
    @cython.locals(data=bytes, text=cython.p_char, offset=Py_ssize_t, stop=Py_ssize_t, size=Py_ssize_t)
    cpdef bytes _take_through(self, Seeker marker, Py_ssize_t limit)
    cpdef drop(self, n)
    @cython.locals(offset=Py_ssize_t)
    cpdef _tidy(self)
    cpdef _clear(self)
    @cython.locals(offset=Py_ssize_t, reached=Py_ssize_t, begin=Py_ssize_t, index=Py_ssize_t, stop=Py_ssize_t)
    cpdef Py_ssize_t _find(self, bytes marker, Py_ssize_t start, bint folded) except -2
