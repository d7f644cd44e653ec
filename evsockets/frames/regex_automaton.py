"""A regular expression as an automaton, which reads each byte once."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

_ALL = frozenset(range(256))
_CATEGORIES = {"DIGIT": rb"\d", "NOT_DIGIT": rb"\D", "SPACE": rb"\s", "NOT_SPACE": rb"\S", "WORD": rb"\w",
               "NOT_WORD": rb"\W"}  # fmt: skip
# Larger patterns cost more for each byte than a search.
_MOST_STATES = 500
# So many sets of states are kept; then the keeping begins anew.
_MOST_NODES = 300


class _Irregular(Exception):
    """The pattern asks for more than the next byte (a group again, what is around it), or is too large."""


def automaton(pattern: re.Pattern[bytes]) -> Automaton | None:
    """The automaton of `pattern`, or None if there is none."""
    try:
        parser: Any = importlib.import_module("re._parser")  # of the standard library, where it has that
        made = Automaton(pattern)
        made.final = made.sequence(parser.parse(pattern.pattern, pattern.flags), 0, pattern.flags)
    except (ImportError, _Irregular):
        return None
    made.start = made.node((0,))
    return made


class Node:
    """The states that the bytes so far may have led to, that where a match begins always among them.

    `next` are the nodes that follow, by byte, as far as they are known; `final` is whether a match ends here.
    """

    __slots__ = ("final", "next", "states")

    def __init__(self, states: frozenset[int], final: bool) -> None:
        self.states = states
        self.final = final
        self.next: dict[int, Node] = {}


class Automaton:
    """States, the first one 0, what leads from one to others by a byte and without one; and the `start`."""

    final: int
    start: Node

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self._steps: list[list[tuple[frozenset[int], int]]] = [[]]
        self._free: list[list[int]] = [[]]
        self._nodes: dict[frozenset[int], Node] = {}

    def run(self, node: Node, data: bytes) -> tuple[Node, int]:
        """Where `data` leads from `node`, and how many bytes of it end a match, 0 if all do not."""
        for count, byte in enumerate(data, 1):
            following = node.next.get(byte)
            node = self._follow(node, byte) if following is None else following
            if node.final:
                return node, count
        return node, 0

    def _follow(self, node: Node, byte: int) -> Node:
        reached = [after for state in node.states for group, after in self._steps[state] if byte in group]
        following = node.next[byte] = self.node((0, *reached))
        return following

    def node(self, states: Iterable[int]) -> Node:
        """The node of `states` and all that are reached from them without a byte."""
        waiting = list(states)
        found = set(waiting)
        while waiting:
            for after in self._free[waiting.pop()]:
                if after not in found:
                    found.add(after)
                    waiting.append(after)
        key = frozenset(found)
        known = self._nodes.get(key)
        if known is None:
            if len(self._nodes) >= _MOST_NODES:
                for one in self._nodes.values():
                    one.next.clear()
                self._nodes.clear()
            known = self._nodes[key] = Node(key, self.final in key)
        return known

    def __reduce__(self) -> Any:
        return automaton, (self.pattern,)  # nodes refer to nodes, deeper than can be pickled

    # ---- how it is made ------------------------------------------------------------------------------

    def _new(self) -> int:
        if len(self._steps) >= _MOST_STATES:
            raise _Irregular
        self._steps.append([])
        self._free.append([])
        return len(self._steps) - 1

    def sequence(self, items: Any, begin: int, flags: int) -> int:
        """Add what leads from `begin` through `items`; the state behind them."""
        for code, argument in items:
            begin = self._one(code.name, argument, begin, flags)
        return begin

    def _one(self, name: str, argument: Any, begin: int, flags: int) -> int:
        if name == "SUBPATTERN":
            _, added, taken, body = argument
            return self.sequence(body, begin, (flags | added) & ~taken)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = argument
            return self._repeat(low, high, body, begin, flags)
        if name == "BRANCH":
            end = self._new()
            for branch in argument[1]:
                first = self._new()
                self._free[begin].append(first)
                self._free[self.sequence(branch, first, flags)].append(end)
            return end
        group = _group(name, argument, flags)
        end = self._new()
        self._steps[begin].append((group, end))
        return end

    def _repeat(self, low: int, high: Any, body: Any, begin: int, flags: int) -> int:
        for _ in range(low):
            begin = self.sequence(body, begin, flags)
        end = self._new()
        self._free[begin].append(end)
        if high.__class__ is not int:  # without an end
            self._free[self.sequence(body, end, flags)].append(end)
            return end
        for _ in range(high - low):
            begin = self.sequence(body, begin, flags)
            self._free[begin].append(end)
        return end


def _group(name: str, argument: Any, flags: int) -> frozenset[int]:
    """The bytes that one item of a pattern stands for."""
    if flags & re.LOCALE:
        raise _Irregular
    if name == "ANY":
        return _ALL if flags & re.DOTALL else _ALL - {ord("\n")}
    if name == "IN":
        parts: list[tuple[str, Any]] = [(code.name, one) for code, one in argument]
    else:
        parts = [("NEGATE", None)] * (name == "NOT_LITERAL") + [("LITERAL", argument)]
        if name not in ("LITERAL", "NOT_LITERAL"):
            raise _Irregular
    found: set[int] = set()
    for kind, one in parts:
        if kind == "LITERAL":
            found.add(one)
        elif kind == "RANGE":
            found.update(range(one[0], one[1] + 1))
        elif kind == "CATEGORY":
            category = re.compile(_CATEGORIES[one.name.removeprefix("CATEGORY_")])
            found.update(byte for byte in _ALL if category.match(bytes((byte,))))
    if flags & re.IGNORECASE:
        found.update(bytes(found).swapcase())
    return _ALL - found if parts[0][0] == "NEGATE" else frozenset(found)
