from evsockets.core.operation cimport Operation


cdef class WriteOperation(Operation):
    cdef public object _data, _then
    cdef public bint out_of_band

    cpdef object start(self, channel, told=*)
    cpdef object step(self, channel, mask)
