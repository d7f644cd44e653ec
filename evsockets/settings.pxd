cimport cython


cdef class Settings:
    cdef public object connection_timeout, io_timeout, idle_timeout, request_timeout
    cdef public object min_receive_speed, min_receive_speed_duration, min_send_speed, min_send_speed_duration
    cdef public object stream_context, look_interval
    cdef public bint minima


cdef class Changed:
    cdef Settings _base
    cdef dict _checked, _given
    cdef public Settings settings

    cdef bint is_of(self, Settings base, dict given)


@cython.locals(made=Changed)
cpdef Changed with_given(Settings base, dict given, Changed last)
