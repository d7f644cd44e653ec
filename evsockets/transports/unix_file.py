"""The files of unix servers: stale ones out of the way, our own removed at the end."""

from __future__ import annotations

import _socket
import errno
import os
import stat

from .. import forks


class UnixSocketFile:
    """The file a unix server has bound, to be removed with it if it is still the same one."""

    __slots__ = ("_forks", "_identity", "path")

    def __init__(self, path: str) -> None:
        # The working directory may have changed by the time it is removed.
        self.path = os.path.abspath(path)
        self._forks = forks.count()
        found = os.stat(self.path)
        self._identity = (found.st_dev, found.st_ino)

    def remove(self) -> bool:
        """Remove the file if it is ours; return whether it was removed. Never raises.

        In the child of a fork it is the parent's.
        """
        if self._forks != forks.count():
            return False
        try:
            found = os.lstat(self.path)
            if not stat.S_ISSOCK(found.st_mode) or (found.st_dev, found.st_ino) != self._identity:
                return False
            os.unlink(self.path)
        except OSError:
            return False
        return True


def remove_stale(path: str) -> None:
    """Remove the socket file at `path` if nothing is bound to it any more; EADDRINUSE otherwise."""
    try:
        found = os.lstat(path)
    except OSError:  # nothing there, or bind() will say what is wrong
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EADDRINUSE, "a file that is no socket is in the way", path)
    # A datagram probe leaves nothing in a stream listener's queue: the kernel answers EPROTOTYPE.
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except ConnectionRefusedError:
        pass
    except FileNotFoundError:
        return
    except OSError as error:
        raise OSError(errno.EADDRINUSE, f"a socket is in the way ({error.strerror})", path) from error
    else:
        raise OSError(errno.EADDRINUSE, "another server is bound to the path", path)
    finally:
        probe.close()
    try:
        again = os.lstat(path)
        if (again.st_dev, again.st_ino) == (found.st_dev, found.st_ino):
            os.unlink(path)
    except FileNotFoundError:
        pass
