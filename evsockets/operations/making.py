"""The factory of the reads and writes that an event's methods name."""

from __future__ import annotations

from typing import Any

from ..core.operation import Maker, Operation
from .read import ReadOperation
from .write import WriteOperation, check_data


class PlainMaker(Maker):
    """Makes reads and writes of the stream or datagrams itself."""

    __slots__ = ()

    def read(self, picker: Any) -> ReadOperation:
        """`ReadOperation(picker)`."""
        return ReadOperation(picker)

    def write(self, data: Any, then: Operation | None) -> WriteOperation:
        """`WriteOperation(data, then=then)` at half the price."""
        if then is not None and not isinstance(then, Operation):
            raise TypeError(f"then must be an operation, got {then!r}")
        write: WriteOperation = WriteOperation.__new__(WriteOperation)
        write._data = data if type(data) is bytes else check_data(data)
        write.out_of_band = False
        write._then = then
        return write
