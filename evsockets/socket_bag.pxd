cimport cython

from evsockets.core cimport dispatch, snapshot
from evsockets.core.channel cimport Channel
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation
from evsockets.metadata cimport SocketMetadata


cdef class SocketBag:
    cdef public Loop _loop
    cdef object __weakref__

    @cython.locals(loop=Loop, channel=Channel, metadata=SocketMetadata, first=Operation)
    cdef _add(self, socket, operation, handler, dict keywords)
