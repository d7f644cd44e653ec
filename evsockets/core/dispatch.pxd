cimport cython

cdef dict _CALLBACKS
cdef object _METHODS, _ONLY_ITSELF


cdef class Several:
    cdef public list callbacks


cdef class Dispatch:
    cdef public object given, on, _loop, _own, _snapshot
    cdef public object accept, connected, data_alert, disconnected, exception, finalize
    cdef public object initialize, initialize_again, oob, read, timeout, write
    cdef object __weakref__


@cython.locals(names=list, parts=list, dispatch=Dispatch)
cpdef Dispatch of(handler, loop, dict keywords)
