"""A hypothesis machine: random sockets, peers and handlers, and the order of life-cycle events."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from evsockets import (
    AcceptedSocket,
    ClientSocket,
    Conversation,
    ConversationOperation,
    DelayedOperation,
    Engine,
    EventType,
    FixedLengthFramePicker,
    FrameError,
    IoEvent,
    NetworkSocketError,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.life import Life
from support.service import LINE
from support.wire import reset

#: Turns until a run that was stopped, or whose peers are gone, must have ended.
TURNS = 500


class Bug(Exception):
    """What a handler raises."""


def once_pending() -> Callable[..., bool]:
    answers = iter([True])
    return lambda *args: next(answers, False)


async def chats(talk: Conversation) -> int:
    """Says something, and answers lines to the end."""
    talk.post(b"welcome\n")
    await talk.write(b"hello\n")
    count = 0
    async for line in talk.frames(LINE):
        await talk.write(line.data)
        count += 1
    return count


async def posts_much(talk: Conversation) -> None:
    talk.post(bytes(600_000))
    await talk.read(LINE)
    await talk.write([b"a", bytes(70_000)])
    await talk.flushed()


async def persists(talk: Conversation) -> str:
    """Catches whatever there is, and lasts a bounded time."""
    try:
        for number in range(20):
            with contextlib.suppress(NetworkSocketError), talk.timeout(0 if number % 3 else None):
                await talk.read(LINE)
            with contextlib.suppress(NetworkSocketError):
                await talk.sleep(0)
                await talk.write(bytes(50_000) if number % 2 else b"on\n")
        return "done"
    finally:
        talk.post(b"goodbye\n")
        with contextlib.suppress(NetworkSocketError):
            await talk.sleep(0)


async def converses_and_errs(talk: Conversation) -> None:
    await talk.write(b"?\n")
    await talk.read(LINE)
    raise FrameError("that is not what it asked for")


OPERATIONS: dict[str, Callable[[], Operation]] = {
    "chats": lambda: ConversationOperation(chats),
    "posts much": lambda: ConversationOperation(posts_much),
    "persists": lambda: ConversationOperation(persists),
    "errs": lambda: ConversationOperation(converses_and_errs),
    "read": ReadOperation,
    "line": lambda: ReadOperation(LINE),
    "empty frame": lambda: ReadOperation(FixedLengthFramePicker(0)),
    "write": lambda: WriteOperation(b"hello\n"),
    "write and read": lambda: WriteOperation([b"a", b"", b"\n"], then=ReadOperation(LINE)),
    "write much": lambda: WriteOperation(bytes(600_000), then=WriteOperation(b"end")),
    "both": lambda: ReadWriteOperation(True, [ReadOperation(LINE), WriteOperation(b"x\n")]),
    "shutdown": lambda: ShutdownWriteOperation(ReadOperation()),
    "delayed": lambda: DelayedOperation(WriteOperation(b"late\n"), lambda *args: True),
    "delayed once": lambda: DelayedOperation(ReadOperation(), once_pending()),
    "nothing": NullOperation,
}
KINDS = ("pair", "pair", "tcp", "refused", "no address", "server", "udp", "tls")
ACTIONS = (
    "cancel", "close", "close other", "stop", "forget", "forget other", "add", "again", "remove", "keep",
    "plain", "set operation", "set other's operation", "next", "not required", "one more", "no time", "error",
    "bug", "close peer", "callback",
)  # fmt: skip

numbers = st.integers(0, 20)
kinds = st.sampled_from(KINDS)
operations = st.sampled_from(sorted(OPERATIONS))
plans = st.lists(st.tuples(st.sampled_from(list(EventType)), st.sampled_from(ACTIONS), numbers), max_size=6)
timeouts = st.sampled_from([None, None, None, "io_timeout", "idle_timeout", "connection_timeout"])


class LifeMachine(RuleBasedStateMachine):
    """Everything a user can do, from inside handlers and between turns. `make_engine` gives the engine."""

    make_engine: Callable[[], Engine]

    def __init__(self) -> None:
        super().__init__()
        gc.collect()
        self.before = set(os.listdir("/proc/self/fd"))
        self.engine = type(self).make_engine()
        self.watched: dict[int, int] = {}
        self._watch = self.engine.watch
        self.engine.watch = self._watching  # type: ignore[method-assign]
        self.executor = RequestExecutor(self.engine)
        self.bag = self.executor.socket_bag
        self.lives: list[Life] = []
        self.peers: list[socket.socket] = []
        self.plans: dict[Life, list[tuple[EventType, str, int]]] = {}
        self.listener = self._keep(socket.create_server(("127.0.0.1", 0), backlog=200))
        self.deaf = self._keep(socket.socket())
        self.deaf.bind(("127.0.0.1", 0))
        self.stopped = False

    def _watching(self, fd: int, interest: int, token: Any) -> None:
        self._watch(fd, interest, token)
        self.watched.pop(fd, None)
        if interest:
            self.watched[fd] = interest

    def _keep(self, peer: socket.socket) -> socket.socket:
        peer.setblocking(False)
        self.peers.append(peer)
        return peer

    # ---- what a user does -----------------------------------------------------------------------------

    @initialize(sockets=st.lists(st.tuples(kinds, operations, plans, st.booleans(), timeouts), max_size=4))
    def begin(self, sockets: Any) -> None:
        """A run with some sockets in it."""
        for one in sockets:
            self.add_one(*one)
        self.start_run()

    @rule(kind=kinds, operation=operations, plan=plans, keep=st.booleans(), impatient=timeouts)
    def add(self, kind: str, operation: str, plan: Any, keep: bool, impatient: str | None) -> None:
        self.add_one(kind, operation, plan, keep, impatient)

    def add_one(self, kind: str, operation: str, plan: Any, keep: bool, impatient: str | None) -> None:
        first: Operation = OPERATIONS[operation]()
        metadata: dict[str, Any] = {"keep_alive": keep, "io_timeout": None, "connection_timeout": None}
        one: Any = ClientSocket()
        address = "tcp://127.0.0.1:%d"
        if kind == "pair":
            ours, theirs = socket.socketpair()
            self._keep(theirs)
            one = ClientSocket.from_socket(ours)
        elif kind == "server":
            one, first = ServerSocket(), ReadOperation()
            metadata["address"] = "tcp://127.0.0.1:0"
        elif kind == "refused":
            metadata["address"] = address % self.deaf.getsockname()[1]
        elif kind != "no address":
            where = self.listener.getsockname()[1]
            metadata["address"] = f"{kind}://127.0.0.1:{where}"
        if impatient is not None:
            metadata[impatient] = 0
        self._add(one, first, plan, metadata)

    def _add(self, one: Any, operation: Operation, plan: Any, metadata: dict[str, Any]) -> None:
        life = Life(self._act)
        life.socket = one
        self.plans[life] = list(plan)
        self.lives.append(life)
        life.metadata = self.bag.add_socket(one, operation, handler=life, **metadata)

    @rule(number=numbers)
    def knock(self, number: int) -> None:
        """A client comes to a server of ours."""
        servers = [one for one in self.bag if one.is_server and one.is_connected]
        if servers:
            peer = self._keep(socket.socket())
            peer.connect_ex(self.bag.get_metadata(servers[number % len(servers)]).local_address)

    @rule()
    def accept(self) -> None:
        """A client of ours is accepted."""
        with contextlib.suppress(BlockingIOError):
            self._keep(self.listener.accept()[0])

    @rule(number=numbers, data=st.sampled_from([b"x", b"line\n", b"1\n2\n3\n", bytes(70_000)]))
    def peer_sends(self, number: int, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.peers[number % len(self.peers)].send(data)

    @rule(number=numbers)
    def peer_sends_urgently(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self.peers[number % len(self.peers)].send(b"!", socket.MSG_OOB)

    @rule(number=numbers)
    def peer_reads(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self.peers[number % len(self.peers)].recv(1 << 20)

    @rule(number=numbers, how=st.sampled_from(["close", "reset", "half-close"]))
    def peer_ends(self, number: int, how: str) -> None:
        peer = self.peers[number % len(self.peers)]
        if peer is self.listener or peer is self.deaf:
            return
        with contextlib.suppress(OSError):
            if how == "half-close":
                peer.shutdown(socket.SHUT_WR)
                return
            if how == "reset":
                reset(peer)
        peer.close()

    @precondition(lambda self: not self.executor.is_executing)
    @rule()
    def start(self) -> None:
        self.start_run()

    def start_run(self) -> None:
        self.stopped = False
        for life in self.lives:
            life.ending = False
        self.executor.start_request()

    @precondition(lambda self: self.executor.is_executing)
    @rule()
    def turn(self) -> None:
        self._turn()

    @precondition(lambda self: self.executor.is_executing)
    @rule(count=st.integers(1, 5))
    def turns(self, count: int) -> None:
        while count and self.executor.is_executing:
            self._turn()
            count -= 1

    @rule(action=st.sampled_from(["close", "forget other", "set other's operation", "remove", "again",
                                  "callback"]), number=numbers)  # fmt: skip
    def between_turns(self, action: str, number: int) -> None:
        chosen = self._some(number)
        if chosen is not None:
            self._do(action, number, chosen, None)

    @precondition(lambda self: self.executor.is_executing)
    @rule()
    def stop(self) -> None:
        self._stop()

    # ---- what handlers do -----------------------------------------------------------------------------

    def _act(self, life: Life, event: Any) -> None:
        if event.type is EventType.ACCEPT:
            self._add(event.client_socket, OPERATIONS["line"](), [], {})
        plan = self.plans[life]
        for entry in list(plan):
            if entry[0] is event.type:
                plan.remove(entry)
                self._do(entry[1], entry[2], life, event)

    def _some(self, number: int) -> Life | None:
        living = [life for life in self.lives if not life.finalized]
        return living[number % len(living)] if living else None

    def _do(self, action: str, number: int, life: Life, event: Any) -> None:
        one = life.socket
        other = self._some(number) or life
        operation = OPERATIONS[sorted(OPERATIONS)[number % len(OPERATIONS)]]()
        match action:
            case "cancel":
                event.cancel_operation()
                self._cancelled(life)
            case "close":
                one.close()
                self._cancelled(life)
            case "close other":
                other.socket.close()
                self._cancelled(other)
            case "stop":
                self._stop()
            case "forget" | "forget other":
                chosen = life if action == "forget" else other
                self.bag.forget_socket(chosen.socket)
                chosen.forgotten = chosen.forgotten or chosen.metadata.keep_alive
            case "add":
                ours, theirs = socket.socketpair()
                self._keep(theirs)
                self._add(ClientSocket.from_socket(ours), operation, [], {})
            case "again":
                if life.finalized and not isinstance(one, AcceptedSocket):
                    with contextlib.suppress(ValueError):  # somebody else did so before
                        first = ReadOperation() if one.is_server else operation
                        self._add(one, first, [], {"keep_alive": bool(number % 2)})
            case "remove":
                with contextlib.suppress(RuntimeError):  # not complete
                    self.bag.remove_socket(one)
            case "keep" | "plain":
                life.metadata.keep_alive = action == "keep"
            case "set operation" | "set other's operation":
                chosen = life if action == "set operation" else other
                if chosen.socket in self.bag and not chosen.metadata.request_complete:
                    with contextlib.suppress(TypeError):  # a server takes a read only
                        self.bag.set_operation(chosen.socket, operation)
            case "next" if isinstance(event, IoEvent):
                event.next_is(operation)
            case "not required" if isinstance(event, IoEvent):
                event.next_operation_not_required()
            case "one more" if event.type is EventType.TIMEOUT:
                event.enable_one_more_attempt()
            case "no time":
                life.metadata.io_timeout = life.metadata.connection_timeout = 0
            case "close peer":
                self.peer_ends(number, "close")
            case "callback":
                self.executor.call_soon_threadsafe(other.socket.close)
                self.executor.call_soon_threadsafe(self._cancelled, other)
            case "error":
                life.raising = True
                raise NetworkSocketError("mine")
            case "bug":
                raise Bug

    def _cancelled(self, life: Life) -> None:
        """Ended by hand: what has started sees only its end."""
        if self.executor.is_executing and life.started and not life.finalized:
            life.ending = True

    def _stop(self) -> None:
        self.executor.stop_request()
        self.stopped = True
        for life in self.lives:
            life.ending = True

    # ---- what must hold -------------------------------------------------------------------------------

    def _turn(self) -> None:
        try:
            if self.executor.turn(0):
                return
        except (Bug, NetworkSocketError, TypeError) as error:
            # Three kinds of misuse are among the actions: a next operation that no ReadWriteOperation or no
            # server takes, and a library error where it counts as any other.
            refused = ("ReadWriteOperation", "a server's operation is its accepting")
            if isinstance(error, TypeError) and not any(what in str(error) for what in refused):
                raise
            for life in self.lives:
                assert life.socket not in self.bag or life.metadata.request_complete, life.names
        self._ended()

    def _ended(self) -> None:
        assert not self.executor.is_executing
        for life in self.lives:
            assert life.finalized or not life.started, life.names
            if not self.stopped and life.socket in self.bag:
                assert self.bag.get_metadata(life.socket).request_complete, life.names
            if isinstance(life.socket, AcceptedSocket) and life.finalized:
                assert life.socket not in self.bag
        # The waker's descriptor alone is watched between runs.
        assert len(self.watched) <= 1, self.watched

    def teardown(self) -> None:
        for number in range(TURNS):
            if not self.executor.is_executing:
                break
            if number == 10:
                self._stop()
            self._turn()
        assert not self.executor.is_executing
        self.executor.close()
        assert not self.watched
        for life in self.lives:
            life.socket.close()
            assert life.socket.fileno() == -1 and not life.socket.is_connected
        self.engine.close()
        for peer in self.peers:
            peer.close()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= len(self.before)


def run_life_machine(make_engine: Callable[[], Engine], *, examples: int = 60, steps: int = 40) -> None:
    """Play `examples` random games of up to `steps` moves with engines made by `make_engine`."""
    machine = type("Machine", (LifeMachine,), {"make_engine": staticmethod(make_engine)})
    # Each game is collected before and after, what lived before the first of them only once.
    gc.collect()
    gc.freeze()
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
                suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
            ),
        )  # fmt: skip
    finally:
        gc.unfreeze()
