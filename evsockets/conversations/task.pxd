cimport cython

from evsockets.conversations._driver cimport Driver
from evsockets.core.channel cimport Channel
from evsockets.core.outbox cimport Outbox
from evsockets.core.task cimport Task

cdef Driver _driver


cdef class ConversationTask(Task):
    cdef public Channel channel
    cdef public object context, coroutine, drainable, error, fault, name, refusal, scopes, turn, wanted
    cdef public bint ended
    cdef public int unawaited
    cdef public long steps

    cpdef ask(self, operation)
    @cython.locals(ch=Channel)
    cpdef object start(self, channel)
    cpdef object step(self, channel, mask)
    cpdef bint _runs_ahead(self) except -1
    cpdef follows(self, channel, following)
    @cython.locals(ch=Channel, box=Outbox)
    cpdef goes_on(self, channel, read)
    cpdef tell(self, handler, event, bint beside=*)
    cpdef bint catches(self, error) except -1
    cpdef bint is_sending(self) except -1
    cpdef double _due(self, channel) except? -1
    cpdef drain(self, channel)
    cpdef forked(self)
    cpdef end(self)
