cimport cython

from evsockets.core cimport outbox
from evsockets.core.channel cimport Channel
from evsockets.core.operation cimport Operation

cdef object _DONE


cdef class WriteOperation(Operation):
    cdef public object _data, _then
    cdef public bint out_of_band

    cpdef bint _runs_ahead(self) except -1
    @cython.locals(ch=Channel)
    cpdef object start(self, channel)
    @cython.locals(ch=Channel)
    cpdef object _send(self, channel)
