cpdef public_peer(remote)


cdef class Socket:
    cdef public object _adopted, _channel, _connection
    cdef object __weakref__

    cpdef _drop(self)
    cpdef _peer(self)
    cpdef _peer_url(self)
    cpdef _over(self)


cdef class ClientSocket(Socket):
    pass


cdef class PersistentClientSocket(ClientSocket):
    cdef public object key


cdef class ServerSocket(Socket):
    pass


cdef class _ServersClient(Socket):
    cdef public object _listener, _remote

    cpdef _peer(self)
    cpdef _peer_url(self)


cdef class AcceptedSocket(_ServersClient):
    pass


cdef class DatagramClientSocket(_ServersClient):
    cdef public object _datagram
