cimport cython

from evsockets._native cimport Descriptor
from evsockets.core cimport interest, closing, outbox, io_clock, start, timeouts
from evsockets.core.deadlines cimport TurnTime
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation, Stepper
from evsockets.core.outbox cimport Outbox
from evsockets.core.task cimport Task
from evsockets.core.token cimport Token, flag
from evsockets.frames.inbox cimport Inbox
from evsockets.metadata cimport SocketMetadata
from evsockets.sockets cimport Socket

cdef object _CLOSING, _COMPLETE, _CONNECTED, _OPENING, _WAITING
cdef object _DONE, _PLAIN_STREAM, _SENDING, _UNTOLD, _YIELDED
cdef dict _MOVES
cdef int _STARTS, _WRITE
cdef Py_ssize_t _LARGE, _MOST


cdef class Channel(Token):
    cdef public Loop loop
    cdef public Descriptor plain
    cdef public Inbox inbox
    cdef public TurnTime io_start, opened_at, request_start, flushed
    cdef public Dispatch dispatch
    cdef public SocketMetadata metadata
    cdef public Socket socket
    cdef public Outbox outbox
    cdef public tuple speeds
    cdef public Task task
    cdef public object phase, operation, next, after, transport, tls
    cdef public object remote, local, opened_for, opened_with, steps
    cdef public double connected_at, io_limit
    cdef public long long bytes_sent, bytes_received
    cdef public int alerts
    cdef public flag started, ended, truncated, datagrams, queued, cancelled, forgotten

    @cython.locals(inbox=Inbox, direct=Descriptor, data=bytes)
    cpdef recv(self, Py_ssize_t size=*)
    cpdef advance(self, following)
    cdef _chosen(self, following)
    @cython.locals(loop=Loop, operation=Operation, box=Outbox)
    cpdef start_next(self, following)
    cpdef wait(self, activity, operation, bint started=*)
    cpdef go_on(self, following)
    cpdef arm_and_watch(self)
    cpdef set_transport(self, transport)
    cpdef step_next_turn(self)
    cpdef cancel(self)
    cpdef mark_active(self)
    cpdef move(self, phase)
    cpdef local_address(self)
