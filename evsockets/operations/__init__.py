"""What a socket can do, one class a file."""

from ..events import IoEvent
from .base import Operation
from .delay import DelayedOperation
from .duplex import ReadWriteOperation
from .handshake import TlsHandshakeOperation
from .read import ReadOperation
from .simple import NullOperation, ShutdownWriteOperation
from .write import WriteOperation

IoEvent._operation = Operation
IoEvent._read_operation = ReadOperation
IoEvent._write_operation = WriteOperation

__all__ = [
    "DelayedOperation",
    "NullOperation",
    "Operation",
    "ReadOperation",
    "ReadWriteOperation",
    "ShutdownWriteOperation",
    "TlsHandshakeOperation",
    "WriteOperation",
]
