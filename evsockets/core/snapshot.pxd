cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.deadlines cimport TurnTime
from evsockets.core.loop cimport Loop
from evsockets.sockets cimport _ServersClient


cdef class Snapshot:
    cdef public object kind, listens_at, local, phase, remote, speeds, steps, tls, url
    cdef public TurnTime io_start, opened_at
    cdef public Loop loop
    cdef public long long bytes_received, bytes_sent
    cdef public bint complete
    cdef public double connected_at, over_at


@cython.locals(left=Snapshot, client=_ServersClient)
cpdef of(Channel channel)
