cimport cython

from evsockets.core cimport posted
from evsockets.core.awaits cimport AwaitRead, AwaitWrite
from evsockets.core.channel cimport Channel
from evsockets.core.conversation cimport Running
from evsockets.core.loop cimport Loop


cdef class Exchange:
    cdef public Running _running
    cdef public Loop _loop
    cdef public object _picker, _reading

    @cython.locals(awaited=AwaitRead)
    cpdef object read(self, picker=*)
    @cython.locals(awaited=AwaitWrite)
    cpdef object write(self, data)
    @cython.locals(channel=Channel, running=Running)
    cpdef object post(self, data)
