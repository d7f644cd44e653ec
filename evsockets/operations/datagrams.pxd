cimport cython

from evsockets.core.channel cimport Channel
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation
from evsockets.events cimport ReadEvent, WriteEvent
from evsockets.frames.base cimport FramePicker
from evsockets.frames.inbox cimport Inbox
from evsockets.operations.accept cimport Accept
from evsockets.operations.datagram_answers cimport Answers
from evsockets.operations.write cimport WriteOperation
from evsockets.transports.packet_info cimport Datagram

cdef object _READ, _WRITE, _UNTOLD
cdef int _PER_TURN


cdef class DatagramOperation(Operation):
    cdef public FramePicker picker

    cpdef object start(self, channel)
    cpdef object step(self, channel, mask)
    cpdef _check_place(self, channel, address)


cdef class ServeDatagrams(Accept):
    cdef public Answers _answers
    cdef public DatagramOperation _operation
    cdef public list _received

    @cython.locals(ch=Channel, loop=Loop, answers=Answers, received=list)
    cpdef object step(self, channel, mask)
    cpdef _abandon(self, channel)
    @cython.locals(datagram=Datagram)
    cdef bint _receive(self, Channel channel) except -1
    @cython.locals(write=WriteOperation, event=WriteEvent, answer=Datagram)
    cdef _serve(self, Channel channel, Datagram datagram)
    @cython.locals(inbox=Inbox, event=ReadEvent)
    cdef _read(self, Channel channel, data, remote)
