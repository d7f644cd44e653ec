cimport cython

from evsockets.core cimport start
from evsockets.core.channel cimport Channel
from evsockets.metadata cimport SocketMetadata
from evsockets.sockets cimport DatagramClientSocket


@cython.locals(metadata=SocketMetadata)
cpdef begin(Channel channel)
@cython.locals(metadata=SocketMetadata)
cdef _opener(Channel channel)
@cython.locals(metadata=SocketMetadata)
cdef _adopt(Channel channel, sock, address)
@cython.locals(listener=Channel)
cdef _reply(Channel channel, DatagramClientSocket socket)
