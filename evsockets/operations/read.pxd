cimport cython

from evsockets._native cimport Descriptor
from evsockets.core cimport outbox
from evsockets.core.channel cimport Channel
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation
from evsockets.core.task cimport Task
from evsockets.events cimport ReadEvent, WriteEvent
from evsockets.frames.base cimport FramePicker
from evsockets.frames.inbox cimport Inbox
from evsockets.operations.write cimport WriteOperation

cdef object _READ, _WRITE, _DONE, _UNTOLD
cdef int _QUIET
cdef Py_ssize_t _MOST


cdef class ReadOperation(Operation):
    cdef public bint _ask_at_once
    cdef public FramePicker picker

    cpdef bint _runs_ahead(self) except -1
    @cython.locals(ch=Channel)
    cpdef object start(self, channel)
    @cython.locals(ch=Channel)
    cpdef object _at_hand(self, channel)
    @cython.locals(
        ch=Channel, inbox=Inbox, loop=Loop, event=ReadEvent, plain=bint, datagram=bint, task=Task
    )
    cpdef object step(self, channel, mask)
    @cython.locals(
        read=ReadOperation, plain=Descriptor, event=WriteEvent, sent=Py_ssize_t, size=Py_ssize_t
    )
    cdef _answer(self, Channel channel, WriteOperation write)
