cimport cython

from evsockets.frames.base cimport Frame, FramePicker
from evsockets.frames.inbox cimport Inbox


@cython.locals(frames=list, offset=Py_ssize_t, left=Py_ssize_t)
cdef list _picked(batch, FramePicker picker, Inbox inbox, bint ended, Py_ssize_t most)
