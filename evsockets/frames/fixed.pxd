from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


cdef class FixedLengthFramePicker(FramePicker):
    cdef public object length
    cpdef object pick(self, Inbox inbox, bint ended)
