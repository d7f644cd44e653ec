cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <sys/socket.h>
    """
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    struct in_addr:
        unsigned int s_addr
    struct in6_addr:
        pass
    struct sockaddr:
        sa_family_t sa_family
    struct sockaddr_in:
        sa_family_t sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        sa_family_t sin6_family
        unsigned short sin6_port
        unsigned int sin6_flowinfo
        in6_addr sin6_addr
        unsigned int sin6_scope_id

cdef union Address:
    sockaddr any
    sockaddr_in four
    sockaddr_in6 six


cdef tuple as_python(Address *name)
cdef socklen_t as_c(address, int family, Address *name) except? 0


cdef class Descriptor:
    cdef readonly object sock
    cdef int fd
    cdef int much  # came at the last receive: 0 little, 1 a lot, 2 at least all that there was room for
    cdef object _whole(self)
    cpdef object recv(self, Py_ssize_t size, int flags=*)
    cpdef Py_ssize_t send(self, data, int flags=*) except? -1


cdef class StreamSocket(Descriptor):
    cdef readonly int family
    cdef bint shared  # `sock` closes the descriptor


cdef class Clock:
    cdef readonly object source
    cdef bint plain
    cpdef double read(self) except? -1


cdef class ReceiveBuffer:
    cdef char memory[65536]
    cdef Py_ssize_t start, size
    cpdef Py_ssize_t receive(self, Descriptor sock) except -2
    cpdef part(self, Py_ssize_t start, Py_ssize_t stop)
    cpdef bytes head(self, Py_ssize_t size)
