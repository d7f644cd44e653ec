cimport cython

from evsockets cimport sockets
from evsockets.core.channel cimport Channel
from evsockets.core.dispatch cimport Dispatch
from evsockets.core.operation cimport Operation
from evsockets.events cimport ReadEvent, WriteEvent
from evsockets.frames.base cimport FramePicker
from evsockets.frames.inbox cimport Inbox
from evsockets.operations.accept cimport AcceptDatagrams
from evsockets.operations.datagram_answers cimport Answers
from evsockets.operations.write cimport WriteOperation
from evsockets.transports.packet_info cimport Datagram

cdef object _READ, _WRITE


cdef class DatagramOperation(Operation):
    cdef public FramePicker picker

    cpdef object start(self, channel)
    cpdef _check_place(self, channel, address)


cdef class ServeDatagrams(AcceptDatagrams):
    cdef public Answers _answers
    cdef public DatagramOperation _operation
    cdef public FramePicker picker

    @cython.locals(ch=Channel, answers=Answers)
    cpdef object step(self, channel, mask)
    cpdef _abandon(self, channel)
    cdef _serve(self, Channel channel, came)
    @cython.locals(write=WriteOperation, event=WriteEvent)
    cdef _read_and_answer(self, Channel channel, Datagram datagram)
    @cython.locals(inbox=Inbox, event=ReadEvent)
    cdef _read(self, Channel channel, data, remote)
