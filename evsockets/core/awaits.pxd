cimport cython

from evsockets.core._driver cimport Driver
from evsockets.core cimport fast_path
from evsockets.core.channel cimport Channel
from evsockets.core.conversation cimport Running

cdef Driver _driver
cdef int _NEW, _WAITS, _DONE
cdef object _LEFT


cdef class Await:
    cdef public Running running
    cdef public object operation
    cdef public bint gives
    cdef public int state

    cpdef bint _begin(self, Running running) except -1


cdef class AwaitRead(Await):
    cpdef bint _begin(self, Running running) except -1


cdef class AwaitWrite(Await):
    @cython.locals(channel=Channel, done=cython.int)
    cpdef bint _begin(self, Running running) except -1


cdef class AwaitNext(AwaitRead):
    @cython.locals(channel=Channel)
    cpdef bint _begin(self, Running running) except -1


cdef class Frames:
    cdef public Running running
    cdef public object operation
