cimport cython


cdef class Dispatch:
    cdef public object given, on, _loop, _own, _snapshot
    cdef public dict _combined
    cdef public object accept, connected, data_alert, disconnected, exception, finalize
    cdef public object initialize, initialize_again, oob, read, timeout, write
    cdef object __weakref__


@cython.locals(dispatch=Dispatch)
cpdef Dispatch of(handler, loop, keywords=*)
