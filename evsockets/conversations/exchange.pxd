cimport cython

from evsockets.conversations cimport awaits
from evsockets.core cimport outbox
from evsockets.conversations.awaits cimport AwaitRead, AwaitWrite
from evsockets.core.channel cimport Channel
from evsockets.conversations.task cimport ConversationTask
from evsockets.core.loop cimport Loop


cdef class Exchange:
    cdef public ConversationTask _task
    cdef public Loop _loop
    cdef public object _picker, _reading

    cpdef object read(self, picker=*)
    cpdef object write(self, data)
    @cython.locals(channel=Channel, task=ConversationTask)
    cpdef object post(self, data)
