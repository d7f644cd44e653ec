cimport cython

from evsockets.core cimport outbox, timeouts
from evsockets.core.channel cimport Channel
from evsockets.core.operation cimport Stepper
from evsockets.core.outbox cimport Outbox
from evsockets.core.token cimport Token
from evsockets.engines cimport asking


@cython.locals(it=Token)
cpdef step(token, mask)
@cython.locals(box=Outbox, handshakes=bint)
cpdef update(Channel channel)
cpdef bint flush_transport(Channel channel) except -1
cpdef unwatch(Token token, number)
