cimport cython

from evsockets.core cimport outbox, posted
from evsockets.core.channel cimport Channel
from evsockets.core.operation cimport Operation
from evsockets.core.outbox cimport Outbox

cdef object _DONE
cdef Py_ssize_t _BYTES_PER_TURN, _BYTES_PER_SEND


cdef class WriteOperation(Operation):
    cdef public object _data, _then
    cdef public bint out_of_band

    cpdef bint _runs_ahead(self) except -1
    @cython.locals(ch=Channel, box=Outbox)
    cpdef object start(self, channel)
    @cython.locals(ch=Channel, box=Outbox)
    cpdef object _send(self, channel)
    cpdef object step(self, channel, mask)
    cpdef _abandon(self, channel)
