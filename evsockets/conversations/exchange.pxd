cimport cython

from evsockets.core cimport posted
from evsockets.conversations.awaits cimport AwaitRead, AwaitWrite
from evsockets.core.channel cimport Channel
from evsockets.conversations.task cimport ConversationTask
from evsockets.core.loop cimport Loop


cdef class Exchange:
    cdef public ConversationTask _task
    cdef public Loop _loop
    cdef public object _picker, _reading

    @cython.locals(awaited=AwaitRead)
    cpdef object read(self, picker=*)
    @cython.locals(awaited=AwaitWrite)
    cpdef object write(self, data)
    @cython.locals(channel=Channel, task=ConversationTask)
    cpdef object post(self, data)
