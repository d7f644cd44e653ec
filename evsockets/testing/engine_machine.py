"""A hypothesis state machine that compares an engine with a dict. Needs hypothesis."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ..engines.base import READ, WRITE, Engine

SOCKETS = 6
_indices = st.integers(0, SOCKETS - 1)
_BLOCK = bytes(65_536)


class _Token:
    """Compared by identity only, and knows nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a token was compared")


class EngineMachine(RuleBasedStateMachine):
    """A pool of socket pairs with fill, drain, close and reuse; the model says what must be reported."""

    make_engine: Callable[[], Engine]

    def __init__(self) -> None:
        super().__init__()
        self.engine = type(self).make_engine()
        self.pairs = [self._pair() for _ in range(SOCKETS)]
        self.model: dict[int, tuple[int, Any]] = {}
        self.hung_up: set[int] = set()

    @staticmethod
    def _pair() -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        for end in pair:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return pair

    @rule(index=_indices, interest=st.integers(0, 3))
    def watch(self, index: int, interest: int) -> None:
        token = _Token()
        self.engine.watch(self.pairs[index][0].fileno(), interest, token)
        self.model.pop(index, None)
        if interest:
            self.model[index] = interest, token

    @rule(index=_indices)
    def receive_something(self, index: int) -> None:
        try:
            self.pairs[index][1].send(b"x")
        except OSError:
            pass  # full, or hung up

    @rule(index=_indices)
    def drain(self, index: int) -> None:
        self._empty(self.pairs[index][0])

    @rule(index=_indices)
    def fill(self, index: int) -> None:
        for _ in range(1_000):
            try:
                self.pairs[index][0].send(_BLOCK)
            except OSError:
                return

    @rule(index=_indices)
    def peer_drains(self, index: int) -> None:
        if index not in self.hung_up:
            self._empty(self.pairs[index][1])

    @rule(index=_indices)
    def peer_hangs_up(self, index: int) -> None:
        self.pairs[index][1].close()
        self.hung_up.add(index)

    @rule(index=_indices, forget_first=st.booleans())
    def close_and_reuse(self, index: int, forget_first: bool) -> None:
        left, right = self.pairs[index]
        number = left.fileno()
        if forget_first:
            self.engine.watch(number, 0, None)
        left.close()
        if not forget_first:
            self.engine.watch(number, 0, None)
        right.close()
        self.hung_up.discard(index)
        self.model.pop(index, None)
        self.pairs[index] = self._pair()  # takes the lowest free numbers: those just given back

    @rule()
    def bad_descriptor(self) -> None:
        for interest in range(4):
            try:
                self.engine.watch(-1, interest, _Token())
            except OSError:
                continue
            raise AssertionError("a negative descriptor was taken")

    @rule(timeout=st.sampled_from([0, 0.0005]))
    def poll(self, timeout: float) -> None:
        self._check(self.engine.poll(timeout))

    @invariant()
    def reported_is_what_is_ready(self) -> None:
        self._check(self.engine.poll(0))

    def _check(self, first: list[tuple[Any, int]]) -> None:
        expected = {index: self._ready(index) for index in self.model}
        expected = {index: mask for index, mask in expected.items() if mask}
        seen: dict[int, int] = {}
        batch = first
        for _ in range(len(self.model) + 3):
            found = [self._index_of(token) for token, _ in batch]
            assert len(found) == len(set(found)), "a token came twice in one poll"
            for index, (_, mask) in zip(found, batch, strict=True):
                assert mask & ~self.model[index][0] == 0, "outside the interest"
                seen[index] = seen.get(index, 0) | mask
            if seen == expected:
                return
            batch = self.engine.poll(0)
        raise AssertionError(f"ready: {expected}, reported: {seen}")

    def _index_of(self, token: Any) -> int:
        for index, (_, known) in self.model.items():
            if known is token:
                return index
        raise AssertionError("a token that is not watched")

    def _ready(self, index: int) -> int:
        """What must be reported, found out by trying (sends of zero bytes tell nothing: peek and poll)."""
        left, _ = self.pairs[index]
        interest = self.model[index][0]
        if index in self.hung_up:
            return interest
        mask = 0
        try:
            left.recv(1, socket.MSG_PEEK)
            mask |= READ
        except BlockingIOError:
            pass
        if _kernel_says_writable(left):
            mask |= WRITE
        return mask & interest

    @staticmethod
    def _empty(sock: socket.socket) -> None:
        for _ in range(10_000):
            try:
                if not sock.recv(65_536):
                    return
            except OSError:
                return

    def teardown(self) -> None:
        self.engine.close()
        for pair in self.pairs:
            for end in pair:
                end.close()


def _kernel_says_writable(sock: socket.socket) -> bool:
    from .._unpatched import original

    return bool(original("select", "select")([], [sock], [], 0)[1])


def run_engine_machine(make_engine: Callable[[], Engine], *, examples: int = 60, steps: int = 30) -> None:
    """Play `examples` random games of up to `steps` calls with engines made by `make_engine`."""
    machine = type("Machine", (EngineMachine,), {"make_engine": staticmethod(make_engine)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
