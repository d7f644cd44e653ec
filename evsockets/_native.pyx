"""Sockets and the clock without a detour through the standard library's modules."""

import os
import time
from _socket import socket

from cython cimport no_gc
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.ref cimport PyObject, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.errno cimport EAGAIN, EBADF, ECONNRESET, EINTR, errno
from libc.string cimport memset, strlen

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    char *start_of "PyBytes_AS_STRING"(PyObject *data)
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    int PySys_Audit(const char *event, const char *format, ...) except -1
    int PyErr_WarnFormat(object category, Py_ssize_t level, const char *format, ...) except -1

cdef extern from "sys/socket.h" nogil:
    ssize_t c_recv "recv" (int fd, void *data, size_t size, int flags)
    ssize_t c_send "send" (int fd, const void *data, size_t size, int flags)
    int c_connect "connect" (int fd, const sockaddr *address, socklen_t size)
    int c_getsockname "getsockname" (int fd, sockaddr *address, socklen_t *size)
    int c_setsockopt "setsockopt" (int fd, int level, int name, const void *value, socklen_t size)

cdef extern from "unistd.h" nogil:
    int c_close "close" (int fd)

cdef extern from "arpa/inet.h" nogil:
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size)
    int inet_pton(int family, const char *text, void *address)
    unsigned short ntohs(unsigned short number)
    unsigned short htons(unsigned short number)
    unsigned int ntohl(unsigned int number)
    unsigned int htonl(unsigned int number)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <unistd.h>
    /* New sockets are non-blocking and closed by exec. */
    #ifdef SOCK_NONBLOCK
    static int evsockets_socket(int family)
    {
        return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    static int evsockets_accept(int fd, struct sockaddr *address, socklen_t *size)
    {
        return accept4(fd, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    #else
    static int evsockets_prepared(int fd)
    {
        if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_NONBLOCK))) {
            close(fd);
            return -1;
        }
        return fd;
    }
    static int evsockets_socket(int family)
    {
        return evsockets_prepared(socket(family, SOCK_STREAM, 0));
    }
    static int evsockets_accept(int fd, struct sockaddr *address, socklen_t *size)
    {
        return evsockets_prepared(accept(fd, address, size));
    }
    #endif
    #ifdef __linux__
    #define EVSOCKETS_LINUX 1
    static double evsockets_monotonic(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return ((double)t.tv_sec * 1e9 + (double)t.tv_nsec) / 1e9;
    }
    #else
    #define EVSOCKETS_LINUX 0
    static double evsockets_monotonic(void) { return 0.0; }
    #endif
    """
    bint ON_LINUX "EVSOCKETS_LINUX"
    double monotonic "evsockets_monotonic"()
    int new_socket "evsockets_socket"(int family)
    int accepted "evsockets_accept"(int fd, sockaddr *address, socklen_t *size)
    int AF_INET, AF_INET6, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY

cdef enum:
    CHUNK = 65536  # above it a send lets other threads run
    LARGE = 262144  # what is received after a whole chunk: the next one is probably waiting

MOST_RECEIVED = LARGE


@no_gc  # of a plain socket, which refers to nothing
cdef class Descriptor:
    """A non-blocking socket's descriptor: `recv` and `send` as the socket itself has them.

    What is no socket of the standard library's is asked itself.
    """

    def __init__(self, sock):
        self.sock = sock
        self.fd = sock.fileno() if isinstance(sock, socket) else -1

    def fileno(self):
        """The descriptor, -1 once closed."""
        return self.sock.fileno()

    cdef object _whole(self):
        """What does all that is not done here."""
        return self.sock

    cpdef object recv(self, Py_ssize_t size, int flags=0):
        cdef char small[CHUNK]
        cdef char *room = small
        cdef PyObject *data = NULL
        cdef ssize_t got
        if size < 0:
            raise ValueError("negative buffersize in recv")
        size = min(size, LARGE if self.much > 1 else CHUNK)
        if self.fd < 0:
            return self._whole().recv(size, flags)
        if self.much:  # what is received into the bytes themselves is not copied
            data = new_bytes(NULL, size)
            room = start_of(data)
        try:
            while True:
                got = c_recv(self.fd, room, size, flags)
                if got >= 0:
                    break
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
                PyErr_CheckSignals()
            if data is not NULL and got < size:
                _PyBytes_Resize(&data, got)
        except:
            Py_XDECREF(data)
            raise
        self.much = 2 if got >= CHUNK else 4 * got > CHUNK
        return PyBytes_FromStringAndSize(small, got) if data is NULL else given(data)

    cpdef Py_ssize_t send(self, data, int flags=0) except? -1:
        cdef Py_buffer view
        cdef ssize_t sent
        cdef const void *start
        cdef size_t size
        cdef bint whole = PyBytes_CheckExact(data)
        if self.fd < 0:
            return self._whole().send(data, flags)
        if whole:
            start = PyBytes_AS_STRING(data)
            size = PyBytes_GET_SIZE(data)
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            start = view.buf
            size = view.len
        try:
            while True:
                if size < CHUNK:
                    sent = c_send(self.fd, start, size, flags)
                else:
                    with nogil:
                        sent = c_send(self.fd, start, size, flags)
                if sent >= 0:
                    return sent
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
                PyErr_CheckSignals()
        finally:
            if not whole:
                PyBuffer_Release(&view)


def plain(sock):
    """`sock`, with `recv` and `send` by its descriptor."""
    return sock if isinstance(sock, Descriptor) else Descriptor(sock)


cdef class Clock:
    """Reads `source`, a callable that gives seconds; where that is `time.monotonic`, without calling it."""

    def __init__(self, source):
        self.source = source
        self.plain = ON_LINUX and source is time.monotonic

    cpdef double read(self) except? -1:
        return monotonic() if self.plain else self.source()


cdef class ReceiveBuffer:
    """64 KiB of memory to receive into; `part` lends a part of it, as an object with the buffer protocol.

    It lends one part at a time: each call of `part` takes the place of the one before.
    """

    cpdef Py_ssize_t receive(self, Descriptor sock) except -2:
        """How many bytes `sock` had, 0 at the end of the stream, -1 if there is nothing now."""
        cdef ssize_t got
        if sock.fd < 0:
            self.start, self.size = 0, CHUNK
            try:
                return sock._whole().recv_into(self)
            except BlockingIOError:
                return -1
        while True:
            got = c_recv(sock.fd, self.memory, CHUNK, 0)
            if got >= 0:
                return got
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()

    cpdef part(self, Py_ssize_t start, Py_ssize_t stop):
        """The bytes from `start` to `stop`, to be read or written by who takes a buffer."""
        if not 0 <= start <= stop <= CHUNK:
            raise ValueError(f"a part of {CHUNK} bytes is asked for, not {start} to {stop}")
        self.start, self.size = start, stop - start
        return self

    cpdef bytes head(self, Py_ssize_t size):
        """A copy of the first `size` bytes."""
        if not 0 <= size <= CHUNK:
            raise ValueError(f"{size} of {CHUNK} bytes are asked for")
        return PyBytes_FromStringAndSize(self.memory, size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory + self.start, self.size, 0, flags)


cdef object given(PyObject *data):
    """`data`, whose one reference is given away."""
    result = <object>data
    Py_XDECREF(data)
    return result


cdef class StreamSocket(Descriptor):
    """A non-blocking TCP socket: what transports and connecting ask of a `_socket.socket`, without one.

    What is rarely asked a `_socket.socket` of the same descriptor does, which is made then.
    """

    type = SOCK_STREAM
    proto = 0

    def __cinit__(self):
        self.fd = -1  # what never was opened closes nothing

    def __init__(self):
        raise TypeError("a StreamSocket is made by open_stream() or accept_stream()")

    def __dealloc__(self):
        if self.fd >= 0 and not self.shared:
            c_close(self.fd)
            PyErr_WarnFormat(ResourceWarning, 1, "unclosed <socket object, fd=%d>", self.fd)

    cdef object _whole(self):
        if self.sock is None:
            if self.fd < 0:
                raise OSError(EBADF, os.strerror(EBADF))
            self.sock = socket(self.family, SOCK_STREAM, 0, self.fd)
            self.shared = True
            self.sock.setblocking(False)
        return self.sock

    def fileno(self):
        """The descriptor, -1 once closed."""
        return self.fd

    def close(self):
        """Close the descriptor. Raises OSError; a second call does nothing."""
        cdef int fd = self.fd
        self.fd = -1
        if self.shared:
            self.sock.close()  # where it lingers, others may go on
        elif fd >= 0 and c_close(fd) and errno != ECONNRESET:
            PyErr_SetFromErrno(OSError)

    def connect_ex(self, address):
        """0, or the number of the error of connect(2)."""
        cdef Address name
        cdef socklen_t size = as_c(address, self.family, &name)
        if self.fd < 0 or not size:
            return self._whole().connect_ex(address)
        PySys_Audit("socket.connect", "OO", <void *>self, <void *>address)
        return 0 if c_connect(self.fd, &name.any, size) == 0 else errno

    def getsockname(self):
        """Our address."""
        cdef Address name
        cdef socklen_t size = sizeof(Address)
        if c_getsockname(self.fd, &name.any, &size):
            PyErr_SetFromErrno(OSError)
        return as_python(&name)

    def getpeername(self):
        """The peer's address."""
        return self._whole().getpeername()

    def getsockopt(self, *arguments):
        """See `socket.socket.getsockopt`."""
        return self._whole().getsockopt(*arguments)

    def setsockopt(self, *arguments):
        """See `socket.socket.setsockopt`."""
        return self._whole().setsockopt(*arguments)

    def recv_into(self, *arguments):
        """See `socket.socket.recv_into`."""
        return self._whole().recv_into(*arguments)

    def shutdown(self, how):
        """See `socket.socket.shutdown`."""
        self._whole().shutdown(how)

    def __reduce__(self):
        raise TypeError("a socket cannot be copied or pickled")

    def __repr__(self):
        return f"<StreamSocket fd={self.fd}>"


def open_stream(int family, bint no_delay):
    """A new socket of AF_INET or AF_INET6. Raises OSError."""
    cdef StreamSocket sock
    cdef int on = 1
    PySys_Audit("socket.__new__", "Oiii", <void *>None, family, SOCK_STREAM, 0)
    sock = StreamSocket.__new__(StreamSocket)
    sock.fd = new_socket(family)
    sock.family = family
    if sock.fd < 0:
        PyErr_SetFromErrno(OSError)
    if no_delay and c_setsockopt(sock.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int)):
        try:
            PyErr_SetFromErrno(OSError)
        finally:
            sock.close()
    return sock


def accept_stream(listener):
    """The next client of `listener`, which listens on AF_INET or AF_INET6, and its address; None if nobody
    waits. Raises OSError."""
    cdef int fd = listener.fileno()
    cdef StreamSocket sock = StreamSocket.__new__(StreamSocket)
    cdef Address name
    cdef socklen_t size = sizeof(Address)
    while True:
        sock.fd = accepted(fd, &name.any, &size)
        if sock.fd >= 0:
            sock.family = name.any.sa_family
            return sock, as_python(&name)
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()


cdef unsigned int _known_number = 0  # the IPv4 address written last, and its text: a machine has few
cdef str _known_text = "0.0.0.0"
cdef tuple _known = None  # the address read last, and what was read
cdef Address _known_name
cdef socklen_t _known_size = 0


cdef tuple as_python(Address *name):
    """An address of AF_INET or AF_INET6 as `socket` gives it."""
    global _known_number, _known_text
    cdef char text[64]
    if name.any.sa_family == AF_INET:
        if name.four.sin_addr.s_addr != _known_number:
            inet_ntop(AF_INET, &name.four.sin_addr, text, sizeof(text))
            _known_text = text.decode("ascii")
            _known_number = name.four.sin_addr.s_addr
        return _known_text, ntohs(name.four.sin_port)
    inet_ntop(AF_INET6, &name.six.sin6_addr, text, sizeof(text))
    return (
        text.decode("ascii"), ntohs(name.six.sin6_port), ntohl(name.six.sin6_flowinfo), name.six.sin6_scope_id
    )


cdef socklen_t as_c(address, int family, Address *name) except? 0:
    """Write an address of AF_INET or AF_INET6 down for the system; its size, 0 for any other object and for a
    host that is a name."""
    global _known, _known_name, _known_size
    cdef Py_ssize_t length
    cdef const char *host
    if address is _known and family == _known_name.any.sa_family:
        name[0] = _known_name
        return _known_size
    if type(address) is not tuple or len(<tuple>address) not in (2, 4):
        return 0
    if type(address[0]) is not str or type(address[1]) is not int or not 0 <= address[1] <= 65535:
        return 0
    host = PyUnicode_AsUTF8AndSize(address[0], &length)
    if <Py_ssize_t>strlen(host) != length:
        return 0
    memset(name, 0, sizeof(Address))
    if family == AF_INET and len(<tuple>address) == 2:
        name.four.sin_family = AF_INET
        name.four.sin_port = htons(address[1])
        if inet_pton(AF_INET, host, &name.four.sin_addr) != 1:
            return 0
        _known_size = sizeof(sockaddr_in)
    elif family == AF_INET6 and len(<tuple>address) == 4:
        name.six.sin6_family = AF_INET6
        name.six.sin6_port = htons(address[1])
        name.six.sin6_flowinfo = htonl(address[2])
        name.six.sin6_scope_id = address[3]
        if inet_pton(AF_INET6, host, &name.six.sin6_addr) != 1:
            return 0
        _known_size = sizeof(sockaddr_in6)
    else:
        return 0
    _known, _known_name = address, name[0]
    return _known_size
