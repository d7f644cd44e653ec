"""Values that belong to one run of an executor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any


class ExecutionContext(MutableMapping[str, Any]):
    """A mapping that handlers, solvers and predicates of one run share; events carry it as `context`.

    A missing key in `[]` raises a KeyError. Keys work as attributes, too (`context.started`), if they begin
    with no underscore and no method has the name; a missing one raises an AttributeError. As with any
    mapping, an empty context is false.
    """

    __slots__ = ("_namespaces", "_values")

    _namespaces: dict[str, ExecutionContext]
    _values: dict[str, Any]

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_values", dict(values or {}))
        object.__setattr__(self, "_namespaces", {})

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"the execution context has no {name!r}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            raise AttributeError(f"{name!r} cannot be set as an attribute; use [{name!r}]")
        self._values[name] = value

    def __delattr__(self, name: str) -> None:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"the execution context has no {name!r}")
        del self._values[name]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Set `key` to `value`."""
        self._values[key] = value

    def has(self, key: str) -> bool:
        """Whether `key` is set (None is a value too)."""
        return key in self._values

    def remove(self, key: str) -> None:
        """Remove `key`, if it is set."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Remove every key of this context; its namespaces are not changed."""
        self._values.clear()

    def in_namespace(self, name: str) -> ExecutionContext:
        """The separate context `name` within this one, the same object each time."""
        found = self._namespaces.get(name)
        if found is None:
            found = self._namespaces[name] = ExecutionContext()
        return found

    def __repr__(self) -> str:
        return f"ExecutionContext({self._values!r})"
