"""A process that forks while an executor runs: whatever the child does, the parent's run goes on unharmed."""

from __future__ import annotations

import pytest

from support.certificates import Authority
from support.command import run_python

# The parent serves lines over tcp, tls and unix. The line "fork" makes a child in a piece of user code, the
# child leaves in its way; then everything that was there before is asked again, and what is new, too.
PARENT = """
    import atexit, functools, os, socket, ssl, sys, tempfile, threading, warnings
    from evsockets import *
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
    engine, where, how, ca, chain, key = sys.argv[1:]
    line = MarkerFramePicker(None, b"\\n")
    folder = tempfile.mkdtemp()
    path = folder + "/socket"
    parent = os.getpid()
    report, reports = os.pipe()
    events, failures, answers = [], [], []
    atexit.register(lambda: os.getpid() == parent or os.write(reports, b"x"))  # a regular end of a child

    def tell(event):
        if os.getpid() != parent:
            os.write(reports, b"!" + event.type.name.encode())

    def child():
        if how == "exit":
            sys.exit(3)
        if how == "raise":
            raise LookupError("in the child")
        if how == "_exit":
            os._exit(3)
        if how == "daemon":
            if os.fork():
                os._exit(3)
            os.setsid()

    def fork():
        if how == "multiprocessing":
            import multiprocessing
            process = multiprocessing.get_context("fork").Process(target=sys.exit, args=(3,))
            process.start()
            process.join()
            assert process.exitcode == 3
            return
        pid = os.fork()
        if not pid:
            return child()
        _, status = os.waitpid(pid, 0)
        expected = {"exit": 3, "_exit": 3, "daemon": 3, "raise": 4, "return": 5}[how]
        if os.waitstatus_to_exitcode(status) != expected:
            failures.append(status)

    class Picker(FramePicker):
        def pick(self, inbox, ended):
            frame = line.pick(inbox, ended)
            if frame and frame.data == b"fork\\n" and where == "picker":
                fork()
            return frame

    class Solver(LimitationSolver):
        def decide(self, executor, sock, context, total):
            if where == "solver" and ready.is_set() and not forked.is_set():
                forked.set()
                fork()
            return LimitationDecision.OK
        def finalize(self, executor, context):
            if os.getpid() != parent:
                os.write(reports, b"!solver")

    READ = ReadOperation(Picker())
    ready, forked = threading.Event(), threading.Event()

    def chunks():
        yield b"fo"
        fork()
        yield b"rk\\n"

    def pending(sock, executor):
        fork()
        return False

    def read(event):
        if event.frame.data != b"fork\\n":
            event.next_is_write(event.frame.data, READ)
        elif where == "iterator":
            event.next_is_write(chunks(), READ)
        elif where == "pending":
            event.next_is(DelayedOperation(WriteOperation(event.frame.data, then=READ), pending))
        elif where == "callback":
            event.executor.call_soon_threadsafe(fork)
            event.executor.call_soon_threadsafe(lambda: os.getpid() == parent or os.write(reports, b"!next"))
            event.next_is_write(event.frame.data, READ)
        else:
            if where == "read":
                fork()
            event.next_is_write(event.frame.data, READ)

    def write(event):
        if where == "write" and event.operation.data == b"fork\\n":
            fork()

    def connected(event):
        if where == "connected" and ready.is_set() and not forked.is_set():
            forked.set()
            fork()

    def accept(event):
        if where == "accept" and ready.is_set() and not forked.is_set():
            forked.set()
            fork()
        executor.socket_bag.add_socket(event.client_socket, READ, handler={EventType.READ: read,
            EventType.WRITE: write, EventType.CONNECTED: connected, EventType.DISCONNECTED: gone,
            EventType.FINALIZE: gone})

    def gone(event):
        if where == event.type.name.lower() and ready.is_set() and not forked.is_set():
            forked.set()
            fork()

    def ask(sock, text):
        sock.settimeout(20)
        sock.sendall(text)
        answer = b""
        while not answer.endswith(b"\\n"):
            got = sock.recv(100)
            if not got:
                return answer + b"(end)"
            answer += got
        return answer

    def plain():
        return socket.create_connection(("127.0.0.1", ports[0]))

    def unix():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    def tls():
        context = ssl.create_default_context(cafile=ca)
        raw = socket.create_connection(("127.0.0.1", ports[1]))
        return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)

    def clients():
        try:
            old = [plain(), plain(), unix(), tls()]
            answers.extend(ask(sock, b"one\\n") for sock in old)
            ready.set()
            if where in ("disconnected", "finalize"):
                old.pop(1).close()
                forked.wait(20)
                answers.append(b"fork\\n")
                answers.append(b"two\\n")
            elif where in ("accept", "connected", "solver"):
                old.append(plain())
                answers.append(ask(old[-1], b"fork\\n"))
            else:
                answers.append(ask(old[0], b"fork\\n"))
            answers.extend(ask(sock, b"two\\n") for sock in old)
            new = [plain(), unix(), tls()]
            answers.extend(ask(sock, b"three\\n") for sock in new)
            for sock in old + new:
                sock.close()
        except BaseException as error:
            failures.append(error)
        finally:
            executor.call_soon_threadsafe(executor.stop_request)

    ports = []

    def listening(event):
        ports.append(event.metadata.local_address[1] if type(event.metadata.local_address) is tuple else None)
        if len(ports) == 3:
            threading.Thread(target=clients, daemon=True).start()

    def main():
        global executor
        isolating = Configuration(isolate_handler_errors=where == "write")
        with RequestExecutor(engine, configuration=isolating) as executor:
            executor.with_event_handler(tell)
            executor.with_limitation_solver(Solver())
            secret = {"certificate": chain, "private_key": key}
            handler = {EventType.ACCEPT: accept, EventType.CONNECTED: listening}
            for address, context in (
                ("tcp://127.0.0.1:0", {}), ("tls://127.0.0.1:0", secret), ("unix://" + path, {})
            ):
                executor.socket_bag.add_socket(ServerSocket(), ReadOperation(), address=address,
                    stream_context=context, handler=handler)
            try:
                executor.execute_request()
            finally:
                if os.getpid() != parent:
                    assert not executor.is_executing
                    try:
                        executor.execute_request()
                    except EngineError:
                        pass

    try:
        main()
    except EngineError as error:
        if os.getpid() == parent:
            raise
        sys.exit(5 if "fork" in str(error) else 6)
    except LookupError:
        if os.getpid() == parent:
            raise
        sys.exit(4)
    os.set_blocking(report, False)
    try:
        told = os.read(report, 1000)
    except BlockingIOError:
        told = b""
    assert not failures, failures
    expected = [b"one\\n"] * 4 + [b"fork\\n"]
    assert answers[:5] == expected, answers
    assert set(answers[5:]) == {b"two\\n", b"three\\n"}, answers
    assert told.strip(b"x") == b"", told  # nobody is told anything in a child
    assert not os.path.exists(path)
    os.rmdir(folder)
    print("ok")
"""

WHERE = (
    "read", "write", "accept", "connected", "disconnected", "finalize", "callback", "iterator", "picker",
    "pending", "solver",
)  # fmt: skip
HOW = ("exit", "raise", "_exit", "return", "daemon", "multiprocessing")


def served(engine: str, where: str, how: str, ca: Authority) -> None:
    result = run_python(PARENT, engine, where, how, ca.ca_file, ca.server.certificate, ca.server.private_key)
    assert result.stdout.strip() == "ok", result.stdout + result.stderr


@pytest.mark.parametrize("how", HOW)
def test_however_the_child_ends(engine: str, how: str, ca: Authority) -> None:
    served(engine, "read", how, ca)


@pytest.mark.parametrize("where", WHERE[1:])
def test_whatever_forks(engine: str, where: str, ca: Authority) -> None:
    """In the child nothing more is told or sent: the executor raises as soon as that has returned. One that
    exits there does the same on each engine."""
    for how in ("return", "exit") if engine == "selectors" else ("return",):
        served(engine, where, how, ca)


UNFINISHED = """
    import os, sys
    import evsockets.executor
    from evsockets import *

    # As another thread does while this one makes an executor.
    class ForkingBag(SocketBag):
        def __init__(self, *args):
            if not os.fork():
                sys.excepthook = sys.unraisablehook = lambda *args: os._exit(9)
                with sibling:
                    try:
                        sibling.execute_request()
                    except EngineError:
                        os._exit(3)
            statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
            super().__init__(*args)

    statuses = []
    sibling = RequestExecutor(sys.argv[1])
    evsockets.executor.SocketBag = ForkingBag
    with sibling, RequestExecutor(sys.argv[1]) as executor:
        executor.execute_request()
    print(statuses)
"""


def test_while_an_executor_is_made(engine: str) -> None:
    """The child knows nothing of it, and those that are whole hear of the fork."""
    result = run_python(UNFINISHED, engine)
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, ["[3]"], ""), result.stderr
