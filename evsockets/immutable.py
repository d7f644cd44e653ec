"""The base of objects that cannot be changed once they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, dataclass_transform

from .validation import nearest

if TYPE_CHECKING:
    from inspect import Signature
    from typing import Self


class _Signature:
    """The constructor's signature, for `help`: as `inspect` finds it, whose import takes long."""

    def __get__(self, instance: object, owner: type[Immutable]) -> Signature:
        from inspect import Parameter, Signature

        named = [(name, getattr(owner, name)) for name in owner._names]
        return Signature([Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in named])


@dataclass_transform(frozen_default=True, kw_only_default=True)  # for checkers
class Immutable:
    """Each annotated, public name of the class is a keyword, and the class's attribute its default.

    They can be compared, hashed, copied and pickled; `copy.replace` (Python 3.13) makes one that differs.
    `_hidden` names are not shown. (A dataclass does this, too; its module takes long to import.)

    TypeError for an unknown keyword, naming the nearest one.
    """

    _names: ClassVar[tuple[str, ...]] = ()
    _hidden: ClassVar[frozenset[str]] = frozenset()
    _what: ClassVar[str] = ""
    """The kind of setting, for errors."""
    _synonyms: ClassVar[Mapping[str, str]] = {}
    """Names that others use for a setting, for errors."""
    __signature__ = _Signature()

    def __init_subclass__(
        cls, what: str = "", hidden: frozenset[str] = frozenset(), synonyms: Mapping[str, str] | None = None
    ) -> None:
        if what:  # else it is derived from settings, and has theirs
            cls._names = tuple(name for name in cls.__annotations__ if name[0] != "_")
            cls._hidden = hidden
            cls._what = what
            cls._synonyms = synonyms or {}

    def __init__(self, **settings: object) -> None:
        names = self._names
        for name in settings:
            if name not in names:
                raise TypeError(f"unknown {self._what} {name!r}{nearest(name, names, self._synonyms)}")
        defaults = type(self)
        values = self.__dict__
        for name in names:
            values[name] = settings[name] if name in settings else getattr(defaults, name)

    def __replace__(self, **changes: object) -> Self:
        return type(self)(**{name: self.__dict__[name] for name in self._names} | changes)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        pairs = zip(self.__dict__.values(), other.__dict__.values(), strict=True)
        return all(one == two and (one is True) is (two is True) for one, two in pairs)  # True is no 1 here

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set: a {type(self).__name__} is not changed once it is made")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} cannot be deleted: a {type(self).__name__} is not changed once made")

    def __repr__(self) -> str:
        shown = [name for name in self._names if name not in self._hidden]
        values = ", ".join(f"{name}={self.__dict__[name]!r}" for name in shown)
        return f"{type(self).__qualname__}({values})"
