"""Datagrams of the internet, received and sent many with one system call: recvmmsg(2), sendmmsg(2)."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from evsockets._native cimport Address, as_c, as_python, sockaddr, socklen_t
from evsockets.transports.packet_info cimport Datagram

from .packet_info import asked_of

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #ifdef __linux__
    #define EVSOCKETS_BATCHES 1
    #else
    #define EVSOCKETS_BATCHES 0
    #include <errno.h>
    #define IP_PKTINFO -1
    #ifndef IPV6_PKTINFO
    #define IPV6_PKTINFO -1
    #endif
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    static int recvmmsg(int fd, struct mmsghdr *all, unsigned most, int flags, void *timeout)
    { errno = ENOSYS; return -1; }
    static int sendmmsg(int fd, struct mmsghdr *all, unsigned most, int flags) { errno = ENOSYS; return -1; }
    #endif
    """
    bint EXIST "EVSOCKETS_BATCHES"
    int AF_INET, IPPROTO_IP, IPPROTO_IPV6, IP_PKTINFO, IPV6_PKTINFO, MSG_DONTWAIT, MSG_NOSIGNAL
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *one)
    unsigned char *CMSG_DATA(cmsghdr *one)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)
    unsigned short ntohs(unsigned short number) nogil
    int recvmmsg(int fd, mmsghdr *all, unsigned int most, int flags, void *timeout) nogil
    int sendmmsg(int fd, mmsghdr *all, unsigned int most, int flags) nogil
    ssize_t sendto(int fd, const void *data, size_t size, int flags, const sockaddr *to, socklen_t length)

if not EXIST:
    raise ImportError("this system has no recvmmsg")

cdef enum:
    MOST = 64  # of one system call
    SIZE = 65536  # no UDP datagram is larger
    CONTROL = 256  # room for what else a descriptor's former owner asked for
    KNOWN = 256  # senders whose address need not be written anew, by the last bits of their port

cdef struct Slot:
    Address address
    socklen_t size
    char control[CONTROL]

cdef struct Room:
    mmsghdr headers[MOST]
    iovec parts[MOST]
    Slot slots[MOST]
    Address known[KNOWN]
    socklen_t sizes[KNOWN]
    char data[MOST][SIZE]  # only what has been received into takes memory


cdef class Batches:
    """What `sock`, a bound datagram socket of IPv4 or IPv6, receives and sends.

    `informed`: IP_PKTINFO or IPV6_PKTINFO is on, and datagrams tell what was asked; `mapped`: as `asked_of`.
    """

    cdef object sock
    cdef int family
    cdef bint informed, mapped
    cdef list remotes
    cdef Room *room

    def __init__(self, sock, bint informed, bint mapped):
        self.sock = sock
        self.family = sock.family
        self.informed = informed
        self.mapped = mapped
        self.remotes = [None] * KNOWN

    def __dealloc__(self):
        free(self.room)

    cdef int _prepare(self) except -1:
        if self.room == NULL:
            self.room = <Room *>calloc(1, sizeof(Room))
            if self.room == NULL:
                raise MemoryError
        return 0

    def receive(self, int most):
        """Up to `most` of what lies there, in order: `Datagram` objects, and OSError for what went wrong."""
        cdef Room *room
        cdef mmsghdr *header
        cdef Datagram one
        cdef list received = []
        cdef int fd = self.sock.fileno(), found, i, wanted
        self._prepare()
        room = self.room
        while len(received) < most:
            wanted = min(<int>MOST, most - <int>len(received))
            for i in range(wanted):
                header = &room.headers[i]
                room.parts[i].iov_base = room.data[i]
                room.parts[i].iov_len = SIZE
                header.msg_hdr.msg_iov = &room.parts[i]
                header.msg_hdr.msg_iovlen = 1
                header.msg_hdr.msg_name = &room.slots[i].address
                header.msg_hdr.msg_namelen = sizeof(Address)
                header.msg_hdr.msg_control = room.slots[i].control if self.informed else NULL
                header.msg_hdr.msg_controllen = CONTROL if self.informed else 0
            with nogil:
                found = recvmmsg(fd, room.headers, wanted, MSG_DONTWAIT, NULL)
            if found < 0:
                if errno == EAGAIN:
                    break
                if errno == EINTR:
                    PyErr_CheckSignals()
                else:
                    received.append(_error())
                continue
            for i in range(found):
                header = &room.headers[i]
                one = Datagram.__new__(Datagram)
                one.data = PyBytes_FromStringAndSize(room.data[i], header.msg_len)
                one.remote = self._remote(&room.slots[i].address, header.msg_hdr.msg_namelen)
                one.asked = self._asked(&header.msg_hdr) if self.informed else None
                received.append(one)
            if found < wanted:
                break  # there is nothing more, or an error, of which the engine tells again
        return received

    def send_one(self, data, remote):
        """Send `data`, which may be empty, to `remote`; its length, -1 if not possible now. Raises OSError."""
        cdef Address address
        cdef Py_buffer view
        cdef Py_ssize_t sent
        cdef socklen_t size = self._address(remote, &address)
        if not size:
            try:
                return self.sock.sendto(data, MSG_NOSIGNAL, remote)
            except BlockingIOError:
                return -1
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while True:
                sent = sendto(self.sock.fileno(), view.buf, view.len, MSG_NOSIGNAL, &address.any, size)
                if sent >= 0 or errno == EAGAIN:
                    return sent
                if errno != EINTR:
                    PyErr_SetFromErrno(OSError)
                PyErr_CheckSignals()
        finally:
            PyBuffer_Release(&view)

    cdef object _remote(self, Address *address, socklen_t size):
        """The sender as `socket` gives it."""
        cdef Room *room = self.room
        cdef unsigned int place = ntohs(address.four.sin_port) % KNOWN  # IPv6's port lies there, too
        if address.any.sa_family == AF_INET:
            memset(<char *>address + 8, 0, size - 8)  # padding, which is compared too
        if room.sizes[place] != size or memcmp(&room.known[place], address, size):
            self.remotes[place] = as_python(address)
            memcpy(&room.known[place], address, size)
            room.sizes[place] = size
        return self.remotes[place]

    cdef object _asked(self, msghdr *header):
        """Which of our addresses; of IPv4 through an IPv6 socket both come, IPv4's last."""
        cdef cmsghdr *one = CMSG_FIRSTHDR(header)
        cdef object asked = None
        cdef int level, kind
        while one != NULL:
            level, kind = one.cmsg_level, one.cmsg_type
            if (level == IPPROTO_IP and kind == IP_PKTINFO) or (
                level == IPPROTO_IPV6 and kind == IPV6_PKTINFO
            ):
                asked = asked_of(level, kind, CMSG_DATA(one)[: one.cmsg_len - CMSG_LEN(0)], self.mapped)
            one = CMSG_NXTHDR(header, one)
        return asked

    def send(self, datagrams):
        """Send them in order; how many the system has taken, -1 if the first one needs to be sent alone, which
        says why."""
        cdef Room *room
        cdef msghdr *header
        cdef Datagram one
        cdef int fd = self.sock.fileno(), sent, count = 0, i, size
        self._prepare()
        room = self.room
        for one in datagrams:
            if count == MOST:
                break
            header = &room.headers[count].msg_hdr
            size = self._address(one.remote, &room.slots[count].address)
            if not size or (one.asked is not None and not self._source(one.asked, header, &room.slots[count])):
                break
            if one.asked is None:
                header.msg_control = NULL
                header.msg_controllen = 0
            header.msg_name = &room.slots[count].address
            header.msg_namelen = size
            room.parts[count].iov_base = PyBytes_AS_STRING(<bytes?>one.data)
            room.parts[count].iov_len = PyBytes_GET_SIZE(one.data)
            header.msg_iov = &room.parts[count]
            header.msg_iovlen = 1
            count += 1
        if not count:
            return -1 if datagrams else 0
        while True:
            with nogil:
                sent = sendmmsg(fd, room.headers, count, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return 0
            if errno != EINTR:
                return -1
            PyErr_CheckSignals()

    cdef socklen_t _address(self, remote, Address *address) except? 0:
        """Write down `remote`; its size, 0 for what is not written down here."""
        cdef Room *room = self.room
        cdef unsigned int place
        if type(remote) is tuple and len(<tuple>remote) > 1 and room != NULL:
            place = remote[1] % KNOWN
            if self.remotes[place] is remote:  # as `_remote` has made it
                memcpy(address, &room.known[place], room.sizes[place])
                return room.sizes[place]
        return as_c(remote, self.family, address)

    cdef bint _source(self, asked, msghdr *header, Slot *slot) except -1:
        """Write down where an answer is sent from; whether there was room."""
        cdef cmsghdr *one = <cmsghdr *>slot.control
        cdef bytes info
        ((level, kind, info),) = asked.control
        if CMSG_SPACE(len(info)) > CONTROL:
            return False
        memset(slot.control, 0, CONTROL)
        header.msg_control = slot.control
        header.msg_controllen = CMSG_SPACE(len(info))
        one.cmsg_level = level
        one.cmsg_type = kind
        one.cmsg_len = CMSG_LEN(len(info))
        memcpy(CMSG_DATA(one), PyBytes_AS_STRING(info), len(info))
        return True


cdef object _error():
    """The OSError of `errno`."""
    try:
        PyErr_SetFromErrno(OSError)
    except OSError as error:
        return error.with_traceback(None)
