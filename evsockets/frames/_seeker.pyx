"""Searching for a marker by C calls."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr


cdef class Seeker:
    """See `evsockets.frames.seeker`."""

    def __init__(self, bytes marker not None):
        self.marker = marker
        self.size = len(marker)
        self.first = marker[0] if marker else 0
        self.second = marker[1] if self.size > 1 else 0

    cpdef Py_ssize_t find(self, bytes data, Py_ssize_t start) except -2:
        cdef const char *text = PyBytes_AS_STRING(data)
        cdef const char *end = text + PyBytes_GET_SIZE(data)
        cdef const char *here = text + start
        if not 0 < self.size <= 2:
            return data.find(self.marker, start)
        while here < end:
            here = <const char *>memchr(here, self.first, end - here)
            if here == NULL:
                break
            if self.size == 1 or (here + 1 < end and here[1] == self.second):
                return here - text
            here += 1
        return -1
