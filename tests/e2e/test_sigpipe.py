"""A peer that has hung up is an error of its socket, also where SIGPIPE has its default action."""

from __future__ import annotations

import pytest

from support.certificates import Authority
from support.command import run_python

BEGIN = """
    import signal, socket, ssl, struct, sys, threading
    from evsockets import *

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    LINE = ReadOperation(MarkerFramePicker(None, b"\\n"))
    executor = RequestExecutor(sys.argv[1])
    errors = []

    def told(event):
        errors.append(type(event.exception).__name__)

    def add(sock, operation, on=None, **metadata):
        handler = {EventType.EXCEPTION: told, **(on or {})}
        executor.socket_bag.add_socket(sock, operation, handler=handler, io_timeout=20, **metadata)

    def hung_up(kind=socket.SOCK_STREAM):
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        theirs.close()
        return ClientSocket.from_socket(ours)

    def broken():
        "A TCP connection whose peer has answered with a reset."
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        try:
            ours.recv(1)  # takes the error that is pending: the next send is a broken pipe
        except ConnectionResetError:
            pass
        return ours
"""
END = """
    executor.execute_request()
    executor.close()
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
    print(*errors)
"""


def survives(engine: str, program: str, *arguments: str) -> str:
    """Run `program` between BEGIN and END; the errors it was told."""
    result = run_python(BEGIN + program + END, engine, *arguments)
    assert result.returncode == 0, (result.returncode, result.stderr)
    return result.stdout.strip()


@pytest.mark.parametrize(
    "first",
    [
        'WriteOperation(b"hello")',
        "WriteOperation(bytes(1 << 22))",
        'WriteOperation(b"x" for _ in range(100))',
        'ReadWriteOperation(False, [WriteOperation(b"hello"), ReadOperation()])',
        "ShutdownWriteOperation(WriteOperation(b'late'))",
    ],
)
def test_writing(engine: str, first: str) -> None:
    program = f"""
    add(hung_up(), {first})
"""
    assert survives(engine, program) == "DisconnectedError"


def test_writing_after_a_reset(engine: str) -> None:
    program = """
    ours = broken()
    add(ClientSocket.from_socket(ours), WriteOperation(b"hello"), address="tcp://127.0.0.1:1")
    add(ClientSocket.from_socket(broken()), WriteOperation(b"!", out_of_band=True), address="tcp://127.0.0.1:1")
"""
    assert survives(engine, program) == "DisconnectedError DisconnectedError"


def test_answering(engine: str) -> None:
    """What a READ handler writes goes a shorter way."""
    program = """
    ours, theirs = socket.socketpair()
    theirs.send(b"a line\\n")
    def answer(event):
        theirs.close()
        event.next_is_write(b"an answer", then=LINE)
    add(ClientSocket.from_socket(ours), LINE, {EventType.READ: answer})
"""
    assert survives(engine, program) == "DisconnectedError"


def test_pipelined_answers(engine: str) -> None:
    program = """
    ours, theirs = socket.socketpair()
    theirs.send(b"a line\\n" * 100)
    def answer(event):
        theirs.close()
        event.next_is_write(b"an answer", then=LINE)
    add(ClientSocket.from_socket(ours), LINE, {EventType.READ: answer})
"""
    assert survives(engine, program) == "DisconnectedError"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("what", ["write", "close", "handshake"])
def test_tls(engine: str, ca: Authority, what: str, version: str) -> None:
    """Records, the close_notify of an orderly end and an alert are written by TLS itself."""
    program = """
    ca, certificate, key, version, what = sys.argv[2:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.maximum_version = ssl.TLSVersion[version]
    ours, theirs = socket.socketpair()
    gone = threading.Event()

    def serve():
        if what != "handshake":
            wrapped = context.wrap_socket(theirs, server_side=True)
            wrapped.read(1)
            wrapped.close()
        theirs.close()
        gone.set()

    threading.Thread(target=serve, daemon=True).start()

    def on_write(event):
        if event.operation.data == b"late":
            gone.wait()

    late = WriteOperation(b"late", then=WriteOperation(b"later"))
    first = WriteOperation(b"x", then=late)
    if what == "handshake":
        gone.wait()
    elif what == "close":
        wait = DelayedOperation(NullOperation(), lambda *_: not gone.is_set(), interval=0.01)
        first = WriteOperation(b"x", then=wait)
    add(ClientSocket.from_socket(ours), first, {EventType.WRITE: on_write},
        address="tls://localhost:1", stream_context={"ca_file": ca})
"""
    leaf = ca.server
    told = survives(engine, program, ca.ca_file, leaf.certificate, leaf.private_key, version, what)
    assert told == {"write": "DisconnectedError", "close": "", "handshake": "TlsHandshakeError"}[what]


def test_datagrams(engine: str) -> None:
    program = """
    add(hung_up(socket.SOCK_DGRAM), WriteOperation(b"hello"))
    def accept(event):
        event.executor.socket_bag.add_socket(
            event.client_socket, ReadOperation(), handler={
                EventType.READ: lambda e: (asker.close(), e.next_is_write(b"answer")),
                EventType.EXCEPTION: told, EventType.FINALIZE: lambda e: e.executor.stop_request(),
            })
    asker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    asker.bind("")
    def ask(event):
        asker.sendto(b"question", b"\\0" + event.metadata.local_address[1:].encode())
    server = {EventType.CONNECTED: ask, EventType.ACCEPT: accept}
    name = "@evsockets-sigpipe-%d" % threading.get_native_id()
    add(ServerSocket(), ReadOperation(), server, address="udg://" + name)
"""
    assert survives(engine, program) == "SendError SendError"


def test_a_wake_up_that_meets_the_close(engine: str) -> None:
    """Another thread may wake an executor whose reading end has just been closed: nobody gets an error."""
    program = """
    waker = executor._loop.waker
    executor.engine.watch(waker._reader.fileno(), 0, waker)
    waker._reader.close()
    waker.wake()
    executor.close()
    executor = RequestExecutor(sys.argv[1])
"""
    assert survives(engine, program) == ""
