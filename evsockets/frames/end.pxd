from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


cdef class EndOfStreamFramePicker(FramePicker):
    cdef public object max_length
    cpdef object pick(self, Inbox inbox, bint ended)
