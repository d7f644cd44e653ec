cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport TurnTime
from evsockets.core.loop cimport Loop


cdef class Remains:
    cdef public object address, kind, local, phase, remote, speeds, steps, tls
    cdef public TurnTime io_start, opened_at
    cdef public Loop loop
    cdef public long long bytes_received, bytes_sent
    cdef public bint complete
    cdef public double connected_at, over_at


@cython.locals(left=Remains)
cpdef of(Channel channel)
