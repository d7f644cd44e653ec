cimport cython

from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


cdef class RawFramePicker(FramePicker):
    @cython.locals(frame=Frame)
    cpdef object pick(self, Inbox inbox, bint ended)
