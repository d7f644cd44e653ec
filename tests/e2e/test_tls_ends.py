"""How TLS connections end."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time

import pytest

from evsockets import (
    DisconnectedError,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FrameError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.life import END, USUAL
from support.service import LINE
from support.tls import Far
from support.wire import (
    PATIENCE,
    Secure,
    add,
    hang_up,
    peer,
    read_to_end,
    reset,
    talk,
    tls_script,
    turns_to_the_end,
    turns_until,
)


@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_an_orderly_close_sends_close_notify(secure: Secure, scheme: str) -> None:
    # The peer does not suppress ragged ends: without close_notify its read raises.
    log, results = secure(read_to_end, WriteOperation(b"bye"), scheme)
    assert results == [b"bye"] and log.names == [*USUAL, "WRITE", *END]


ENDS = [
    # picker, sent, the frames and the error: with close_notify, without, without where that is allowed
    (None, b"", [], None, DisconnectedError, None),
    (LINE, b"", [], DisconnectedError, DisconnectedError, DisconnectedError),
    (LINE, b"hal", [], FrameError, FrameError, FrameError),
    (EndOfStreamFramePicker(), b"", [b""], None, FrameError, None),
    (EndOfStreamFramePicker(), b"all", [b"all"], None, FrameError, None),
]


@pytest.mark.parametrize("ending", ["close_notify", "truncated", "allowed"])
@pytest.mark.parametrize("row", range(len(ENDS)))
@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_how_tls_ends(secure: Secure, row: int, ending: str, scheme: str) -> None:
    picker, sent, frames, proper, truncated, allowed = ENDS[row]
    error = {"close_notify": proper, "truncated": truncated, "allowed": allowed}[ending]

    def script(sock):
        if sent:
            sock.sendall(sent)
        if ending == "close_notify":
            sock.unwrap()
        else:
            hang_up(sock)

    settings = {"require_close_notify": ending != "allowed"}
    log, _ = secure(script, ReadOperation(picker), scheme, quiet=True, settings=settings)
    assert [type(one) for one in log.errors] == ([error] if error else [])
    assert log.frames == ([] if error else frames)
    if error is FrameError:
        assert log.error.partial.data == sent and log.error.picker is picker
    if error and ending == "truncated":
        assert "close_notify" in str(log.error)
    middle = ["EXCEPTION"] if error else ["READ"] * len(frames)
    assert log.names == [*USUAL, *middle, *END]


def test_what_came_before_a_truncation_is_delivered(secure: Secure) -> None:
    def script(sock):
        sock.sendall(b"one\ntwo\nthr")
        hang_up(sock)

    on = {"READ": lambda event: event.next_is_read(LINE)}
    log, _ = secure(script, ReadOperation(LINE), quiet=True, on=on)
    assert log.frames == [b"one\n", b"two\n"]
    assert isinstance(log.error, FrameError) and log.error.partial.data == b"thr"


@pytest.mark.parametrize("truncated", [False, True])
def test_an_idle_connection_takes_either_as_the_end(secure: Secure, truncated: bool) -> None:
    def script(sock):
        sock.recv(10)
        hang_up(sock) if truncated else sock.unwrap()

    log, _ = secure(script, WriteOperation(b"x"), quiet=True, keep_alive=True)
    assert log.names == [*USUAL, "WRITE", *END]


def test_session_tickets_are_no_data(secure: Secure, ca: Authority) -> None:
    log, _ = secure(
        lambda sock: sock.recv(10), WriteOperation(None), "tlsv1.3", quiet=True,
        context=server_side(ca, num_tickets=5), keep_alive=True, idle_timeout=0.1,
    )  # fmt: skip
    assert log.names == [*USUAL, "WRITE", "TIMEOUT", *END]


def test_shutdown_write_is_close_notify_one_way(secure: Secure) -> None:
    def script(sock):
        received = read_to_end(sock)
        sock.sendall(received[::-1])
        return received

    operation = WriteOperation(b"abc", then=ShutdownWriteOperation(ReadOperation(FixedLengthFramePicker(3))))
    log, results = secure(script, operation)
    assert results == [b"abc"] and log.frames == [b"cba"]


@pytest.mark.parametrize("size", range(20_000, 120_000, 10_000))
def test_close_notify_waits_for_the_kernel(executor: RequestExecutor, ca: Authority, size: int) -> None:
    """It is the last thing to be sent: no room for it at once is no reason to leave it out."""

    def script(sock):
        started.wait(20)
        return sum(iter(lambda: len(sock.recv(1000)), 0))

    started = threading.Event()
    with peer(tls_script(server_side(ca), script), receive_buffer=2048) as server:
        stream_context = {"ca_file": ca.ca_file, "send_buffer_size": 4096}
        log = add(executor, server.url("tls"), WriteOperation(bytes(size)), stream_context=stream_context)
        executor.start_request()
        turns_until(executor, lambda: "WRITE" in log.names)
        started.set()  # the buffers are full
        turns_to_the_end(executor)
        assert server.wait() == [size] and log.errors == []


@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_what_came_before_a_reset_is_delivered(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """The reset is met in sending the last of the handshake; what the client sent is told before it."""
    trust = ssl.create_default_context(cafile=ca.ca_file)

    def client(port: int) -> None:
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset drops what waits to be sent
        sock = trust.wrap_socket(plain, server_hostname="localhost")
        sock.sendall(b"all")
        reset(sock)

    logs = []

    def connected(event) -> None:
        threads.append(threading.Thread(target=client, args=event.metadata.local_address[1:]))
        threads[0].start()

    def accepted(event) -> None:
        on = {
            "CONNECTED": wait_for_the_client,
            "READ": lambda event: event.next_is_read(),
            "FINALIZE": lambda event: executor.stop_request(),
        }
        logs.append(add(executor, None, ReadOperation(), socket=event.client_socket, on=on))

    def wait_for_the_client(event) -> None:
        threads[0].join(PATIENCE)
        assert not threads[0].is_alive()  # its handshake has not to wait for this handler

    threads: list[threading.Thread] = []
    talk(
        executor, f"{scheme}://127.0.0.1:0", ReadOperation(), socket=ServerSocket(),
        stream_context=ca.server.settings,
        on={"CONNECTED": connected, "ACCEPT": accepted}, io_timeout=None,
    )  # fmt: skip
    assert logs[0].frames == [b"all"]
    assert isinstance(logs[0].error, DisconnectedError) and logs[0].error.errno == errno.ECONNRESET


def test_what_had_left_before_a_reset_is_counted(secure: Secure) -> None:
    """The peer has it, though the very send that took it met the reset."""

    def script(sock: ssl.SSLSocket) -> int:
        got = 0
        while got < 200_000:
            got += len(sock.recv(16384))
        reset(sock)
        return got

    log, (got,) = secure(script, WriteOperation(bytes(50_000_000)))
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]
    assert isinstance(log.error, DisconnectedError)
    assert log.metadata.bytes_sent >= got


@pytest.mark.parametrize("tickets", [True, False], ids=["late tickets", "no tickets"])
def test_a_client_that_only_writes_loses_nothing(secure: Secure, ca: Authority, tickets: bool) -> None:
    """TLS 1.3's session tickets come unasked, here after everything was sent; closed already, the client's
    kernel would answer them with a reset, and what the peer has not got by then would be dropped."""

    def script(sock: socket.socket) -> int:
        far = Far(sock, server_side(ca), server_side=True)
        far.call(far.tls.do_handshake)
        assert far.outgoing.pending
        time.sleep(0.1)  # by now a hasty client would have closed
        if tickets:
            far.send()
        else:
            far.outgoing.read()
        return sum(iter(lambda: len(far.call(lambda: far.tls.read(65536))), 0))

    write = WriteOperation(bytes(SIZE))
    log, results = secure(script, write, wrapped=False, receive_buffer=8192, settings=ROOMY)
    assert results == [SIZE]
    assert log.names == [*USUAL, "WRITE", *END]


def test_a_client_that_only_writes_does_not_wait_for_ever(secure: Secure) -> None:
    done = threading.Event()
    log, _ = secure(
        lambda sock: done.wait(PATIENCE), WriteOperation(bytes(SIZE)), receive_buffer=8192, settings=ROOMY,
        on={"FINALIZE": lambda event: done.set()},
    )  # fmt: skip
    assert log.names == [*USUAL, "WRITE", *END]


#: More than a small receive buffer holds, less than the kernel takes at once with `ROOMY`.
SIZE = 150_000
ROOMY = {"send_buffer_size": 400_000}
