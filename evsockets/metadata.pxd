cimport cython

from evsockets.settings cimport Settings


cdef object _client_address


cdef class SocketMetadata:
    cdef public object _address, _channel, _parsed, _result, user_context
    cdef public bint _keep_alive
    cdef public Settings _settings

    @cython.locals(settings=Settings, given=dict)
    cpdef _apply(self, dict values)
    cpdef _parse(self, address)
