cimport cython

from evsockets.conversations._driver cimport Driver
from evsockets.conversations cimport fast_path
from evsockets.core.channel cimport Channel
from evsockets.conversations.task cimport ConversationTask

cdef Driver _driver
cdef int _NEW, _WAITS, _DONE
cdef object _LEFT


cdef class Await:
    cdef public ConversationTask task
    cdef public object operation
    cdef public int state

    cpdef bint _begin(self, ConversationTask task) except -1


cpdef prepared(Await awaits, ConversationTask task, operation)


cdef class AwaitRead(Await):
    cpdef bint _begin(self, ConversationTask task) except -1


cdef class AwaitWrite(Await):
    @cython.locals(channel=Channel, done=cython.int)
    cpdef bint _begin(self, ConversationTask task) except -1


cdef class AwaitNext(AwaitRead):
    @cython.locals(channel=Channel)
    cpdef bint _begin(self, ConversationTask task) except -1


cdef class Frames:
    cdef public ConversationTask task
    cdef public object operation
