from evsockets.core.channel cimport Channel


cpdef nothing_next(Channel channel)
