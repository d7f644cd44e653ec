cimport cython

from evsockets._native cimport Clock
from evsockets.core.admission cimport Admission
from evsockets.core.deadlines cimport Deadlines, TurnTime
from evsockets.core.operation cimport Maker
from evsockets.settings cimport Changed

cdef double _NEVER, _AT_ONCE


cdef class Loop:
    cdef public object executor, engine, configuration, handlers, resolver, begin, keep, solver
    cdef public object client_settings, server_settings, clock, context, oob_poller_type
    cdef public object callbacks, ident, _forks, waker, current, draining, closing, recent_dispatches
    cdef public object thread_id
    cdef public Clock time
    cdef public Admission admission
    cdef public Changed _last_settings
    cdef public dict dispatches, members, kept_sockets, delayed
    cdef public set active_sockets
    cdef public list posters, ready, to_end, to_flush
    cdef public bint closed, turns_taken_by_us, executing, in_turn, stopping, interrupt
    cdef public double now, wall_offset
    cdef public Deadlines deadlines
    cdef public Maker maker
    cdef public TurnTime turn_time
    cdef object __weakref__

    cpdef check_thread(self)
    cpdef bint has_work(self) except -1
    @cython.locals(admission=Admission, when=double)
    cpdef double due(self) except? -1
    @cython.locals(turn_time=TurnTime, now=double)
    cpdef update_time(self)
    cpdef bint end_cancelled(self) except -1
    cpdef wake_if_hosted(self)
    @cython.locals(last=Changed)
    cpdef settings_like(self, base, given)
