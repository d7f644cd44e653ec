cimport cython

from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


cdef class LineFramePicker(FramePicker):
    cdef public object max_length
    cdef public bint keep_end
    cdef public Py_ssize_t _limit

    @cython.locals(data=bytes, frame=Frame, end=Py_ssize_t, size=Py_ssize_t)
    cpdef object pick(self, Inbox inbox, bint ended)
