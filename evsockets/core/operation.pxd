from evsockets.core.token cimport Token


cdef class Stepper:
    cpdef object start(self, channel)
    cpdef object step(self, channel, mask)
    cpdef _abandon(self, channel)
    cpdef _check_place(self, channel, address)
    cpdef _added(self, metadata)
    cpdef double _due(self, channel) except? -1


cdef class Operation(Stepper):
    cpdef object step(self, channel, mask)
    cpdef object _at_hand(self, channel)
    cpdef bint _runs_ahead(self) except -1


cdef class Maker:
    cpdef Operation read(self, picker)
    cpdef Operation write(self, data, then)
