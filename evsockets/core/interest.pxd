cimport cython

from evsockets.core cimport posted, timeouts
from evsockets.core.channel cimport Channel
from evsockets.core.operation cimport Stepper
from evsockets.core.token cimport Token
from evsockets.engines cimport asking


@cython.locals(it=Token)
cpdef step(token, mask)
cpdef update(Channel channel)
cpdef unwatch(Token token, number)
