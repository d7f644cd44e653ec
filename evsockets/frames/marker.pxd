cimport cython

from evsockets.frames._seeker cimport Seeker
from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


cdef class MarkerFramePicker(FramePicker):
    cdef public bytes _end, _start
    cdef public object start, end, max_length, case_sensitive
    cdef public Py_ssize_t _limit, _end_size
    cdef public Seeker _seeker
    cdef public bint _folds
    @cython.locals(frame=Frame)
    cpdef object pick(self, Inbox inbox, bint ended)
    @cython.locals(index=Py_ssize_t, stop=Py_ssize_t, begin=Py_ssize_t)
    cdef _pick(self, Inbox inbox)
    cdef Py_ssize_t _begun(self, Inbox inbox) except -1
