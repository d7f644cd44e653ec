cimport cython

from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


cdef class LengthPrefixedFramePicker(FramePicker):
    cdef public object size, byteorder, include_prefix, max_length
    @cython.locals(available=Py_ssize_t)
    cpdef object pick(self, Inbox inbox, bint ended)
