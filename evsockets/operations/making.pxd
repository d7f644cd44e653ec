cimport cython

from evsockets.core.operation cimport Maker, Operation
from evsockets.operations.write cimport WriteOperation


cdef class PlainMaker(Maker):
    cpdef Operation read(self, picker)
    @cython.locals(write=WriteOperation)
    cpdef Operation write(self, data, then)
