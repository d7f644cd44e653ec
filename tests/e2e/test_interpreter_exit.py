"""What a program leaves open when it ends without closing its executor."""

from __future__ import annotations

import socket

import pytest

from support.command import run_python

PROGRAM = """
    import sys, threading
    from evsockets import *
    engine, kind, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    executor = RequestExecutor(engine, resolver=lambda *args, **named: threading.Event().wait())
    where = {"client": f"tcp://127.0.0.1:{port}", "server": "tcp://127.0.0.1:0",
             "resolving": "tcp://name.test:80", "idle": f"tcp://127.0.0.1:{port}"}[kind]
    executor.socket_bag.add_socket(
        ServerSocket() if kind == "server" else ClientSocket(),
        NullOperation() if kind == "idle" else ReadOperation(), address=where, keep_alive=kind == "idle")
    executor.start_request()
    for _ in range(5):
        executor.turn(0.01)
    print("leaving", len(executor.socket_bag), flush=True)
"""


@pytest.mark.parametrize("kind", ["client", "server", "idle", "resolving"])
def test_a_program_that_just_ends(engine: str, kind: str) -> None:
    """At once, with status 0, no traceback and no connection made to find out what was what."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = str(listener.getsockname()[1])
        result = run_python(PROGRAM, engine, kind, port, PYTHONWARNINGS="default::ResourceWarning")
        accepted = 0
        while True:
            try:
                listener.accept()[0].close()
                accepted += 1
            except BlockingIOError:
                break
    assert result.stdout == "leaving 1\n", result.stderr
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    assert accepted == (kind in ("client", "idle"))
