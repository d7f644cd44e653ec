from evsockets.core.token cimport Token


cdef class Stepper:
    cpdef object start(self, channel)
    cpdef object step(self, channel, mask)
    cpdef _abandon(self, channel)
    cpdef _due(self, channel)


cdef class Operation(Stepper):
    cpdef object step(self, channel, mask)
    cpdef bint _runs_ahead(self) except -1


cdef class Maker:
    cpdef Operation read(self, picker)
    cpdef Operation write(self, data, then)
