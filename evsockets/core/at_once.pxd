cimport cython

from evsockets._native cimport Descriptor
from evsockets.core.channel cimport Channel
from evsockets.core.conversation cimport Running
from evsockets.core.loop cimport Loop


@cython.locals(channel=Channel, loop=Loop)
cpdef bint may(Running running) except -1

@cython.locals(channel=Channel)
cpdef read(Running running, operation)
@cython.locals(channel=Channel)
cpdef read_next(Running running, operation)

@cython.locals(channel=Channel, plain=Descriptor, sent=Py_ssize_t)
cpdef write(Running running, data)

cpdef go_on(Running running, Channel channel, read)
