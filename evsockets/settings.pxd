cdef class Settings:
    cdef public object connection_timeout, io_timeout, idle_timeout, request_timeout
    cdef public object min_receive_speed, min_receive_speed_duration, min_send_speed, min_send_speed_duration
    cdef public object stream_context, look_interval
    cdef public bint minima
