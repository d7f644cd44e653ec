"""Generic classes that can be compiled, and overloads: for type checkers, at no cost at run time."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

# From here, and not from `typing`: then the pages show a function as it is defined, and not its overloads.
from typing import overload as overload

if TYPE_CHECKING:
    from typing import Generic as Generic

    # With defaults: `FramePicker` alone is a picker of frames. Checkers know this module, installed or not.
    from typing_extensions import TypeVar as TypeVar
else:
    from types import GenericAlias

    class Generic:
        """A base beside others, as in `class Read(Operation, Generic[T])`. A compiled class cannot have that
        of `typing`, which looks at each of its subclasses when that is made."""

        __slots__ = ()

        def __class_getitem__(cls, item):
            return cls if cls is Generic else GenericAlias(cls, item)

    def TypeVar(name, *, default, **how):
        """A type variable. Before Python 3.13 it has no default, which only checkers look at."""
        return typing.TypeVar(name, **how)
