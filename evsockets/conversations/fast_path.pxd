cimport cython

from evsockets.core cimport outbox
from evsockets.core.channel cimport Channel
from evsockets.conversations.task cimport ConversationTask
from evsockets.core.loop cimport Loop
from evsockets.core.operation cimport Operation

cdef object _LEFT
cdef Py_ssize_t _MOST
cdef long _STEPS


@cython.locals(channel=Channel, loop=Loop)
cpdef bint may(ConversationTask task) except -1

@cython.locals(channel=Channel, reads=Operation)
cpdef read(ConversationTask task, operation)

@cython.locals(channel=Channel)
cpdef int write(ConversationTask task, bytes data) except -2
