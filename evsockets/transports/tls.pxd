from evsockets.transports.tls_records cimport TlsRecords


cdef class TlsTransport(TlsRecords):
    cpdef handshake(self)
    cdef _find_alert(self)
    cdef _drain(self)
    cdef _end_writing(self)
