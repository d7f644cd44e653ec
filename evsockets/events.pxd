cimport cython

from evsockets.core.channel cimport Channel

cdef object _ACCEPT, _READ, _WRITE, _UNTOLD


cdef class Event:
    cdef public object type
    cdef public Channel _channel


cdef class IoEvent(Event):
    pass


cdef class ReadEvent(IoEvent):
    cdef public object frame, operation


cdef class OutOfBandEvent(ReadEvent):
    pass


cdef class WriteEvent(IoEvent):
    cdef public object operation


cdef class AcceptEvent(IoEvent):
    cdef public object _client, _frame, _remote


cdef class DataAlertEvent(IoEvent):
    cdef public object attempt, total_attempts


cdef class TimeoutEvent(Event):
    cdef public object when, phase, _doing
    cdef public bint _one_more


cdef class SocketExceptionEvent(Event):
    cdef public object exception
