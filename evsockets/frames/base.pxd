cimport cython

from evsockets.frames.inbox cimport Inbox


cdef class Frame:
    cdef public object data, remote_address


cdef class PartialFrame(Frame):
    cdef public object frame


cdef class EmptyFrame(Frame):
    pass


cdef class AcceptedFrame(Frame):
    cdef public object client_socket


cdef class _Root:
    pass


cdef class FramePicker(_Root):
    cpdef object pick(self, Inbox inbox, bint ended)
