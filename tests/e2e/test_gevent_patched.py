"""Gevent's monkey-patching: any order, with and without threads, every loop; WSGI and Flask applications."""

from __future__ import annotations

import textwrap

import pytest

from support.command import run_python
from support.optional import library

pytest.importorskip("gevent", exc_type=ImportError)

pytestmark = pytest.mark.usefixtures("gevent_is_tested")

CONVERSATION = """
    import threading, time, socket
    import gevent
    from evsockets import *
    assert socket.socket.__module__ == "gevent._socket3", socket.socket.__module__
    def scenario(engine):
        done = []
        line = MarkerFramePicker(None, b"\\n")
        with RequestExecutor(engine) as executor:
            expected = engine or "gevent"
            assert executor.engine.name == expected, executor.engine
            server = ServerSocket()
            def accepted(event):
                executor.socket_bag.add_socket(event.client_socket, ReadOperation(line),
                    handler={EventType.READ: lambda e: e.next_is_write(e.frame.data)})
            def connected(event):
                port = event.metadata.local_address[1]
                for _ in range(5):
                    executor.socket_bag.add_socket(ClientSocket(),
                        WriteOperation(b"hello\\n", then=ReadOperation(line)),
                        address=f"tcp://localhost:{port}", handler={EventType.READ: read})
            def read(event):
                done.append(event.frame.data)
                if len(done) == 5:
                    threading.Thread(target=executor.stop_request).start()
            executor.socket_bag.add_socket(server, ReadOperation(), address="tcp://127.0.0.1:0",
                handler={EventType.ACCEPT: accepted, EventType.CONNECTED: connected})
            executor.execute_request()
        assert done == [b"hello\\n"] * 5, done
    scenario(None)
    scenario("gevent")
    scenario("selectors")

    def stopped_by_a_real_thread():
        start = gevent.monkey.get_original("_thread", "start_new_thread")
        with RequestExecutor() as executor:
            def connected(event):
                start(executor.stop_request, ())
            executor.socket_bag.add_socket(ServerSocket(), ReadOperation(), address="tcp://127.0.0.1:0",
                handler={EventType.CONNECTED: connected})
            executor.execute_request()

    def handler_makes_a_patched_call():
        import urllib.request
        from gevent.pywsgi import WSGIServer
        def application(environ, start_response):
            before = len(beats)
            while len(beats) < before + 3:  # the others go on while the handler waits for this
                gevent.sleep(0.001)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"from the web"]
        web = WSGIServer(("127.0.0.1", 0), application, log=None)
        web.start()
        answers, beats = [], []
        heart = gevent.spawn(lambda: [beats.append(gevent.sleep(0.001)) for _ in range(100_000)])
        ours, theirs = socket.socketpair()
        def read(event):
            with urllib.request.urlopen(f"http://127.0.0.1:{web.server_port}/") as page:
                answers.append(page.read())
        with RequestExecutor() as executor:
            executor.socket_bag.add_socket(ClientSocket.from_socket(ours), ReadOperation(),
                handler={EventType.READ: read})
            theirs.sendall(b"go")
            executor.execute_request()
        theirs.close()
        heart.kill()
        web.stop()
        assert answers == [b"from the web"], answers

    stopped_by_a_real_thread()
    handler_makes_a_patched_call()
    print("ok")
"""


@pytest.mark.parametrize("patch", ["gevent.monkey.patch_all()", "gevent.monkey.patch_all(thread=False)"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("loop", ["libev-cext", "libev-cffi", "libuv-cffi"])
def test_monkey_patched(patch: str, first: bool, loop: str) -> None:
    """patch_all() before or after the import of the library; threads patched or not; every loop of gevent."""
    setup = ["import gevent.monkey", patch]
    setup = [*setup, "import evsockets"] if first else ["import evsockets", *setup]
    run("\n".join(setup) + textwrap.dedent(CONVERSATION), GEVENT_LOOP=loop)


INTERRUPTS = """
    import os, signal, socket, threading, time
    from evsockets import *
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in range(15):
        waiting = threading.Event()
        def interrupt():
            waiting.wait()
            time.sleep(0.03)  # in the midst of the wait: what comes before it, gevent's cffi loops may lose
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        ours, theirs = socket.socketpair()
        with theirs, RequestExecutor("gevent") as executor:
            executor.socket_bag.add_socket(ClientSocket.from_socket(ours), ReadOperation(), io_timeout=None,
                handler={EventType.CONNECTED: lambda event: waiting.set()})
            thread.start()
            try:
                executor.execute_request()
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError("the interrupt was lost")
        thread.join()
    print("ok")
"""


@pytest.mark.parametrize("loop", ["libev-cext", "libev-cffi", "libuv-cffi"])
def test_no_interrupt_of_a_wait_is_lost(loop: str) -> None:
    """Not even where the loop loses what is raised in the callback of an I/O watcher (libuv)."""
    run(INTERRUPTS, GEVENT_LOOP=loop)


def run(code: str, **more: str) -> None:
    result = run_python(code, **more)
    assert result.returncode == 0 and result.stdout.strip() == "ok", result.stdout + result.stderr


WSGI = """
    import gevent.monkey
    gevent.monkey.patch_all()
    import http.client, threading
    import gevent
    from gevent.pywsgi import WSGIServer
    from gevent.server import StreamServer
    from evsockets import *

    CALLS = 200
    line = MarkerFramePicker(None, b"\\n")
    waiting = []
    gate = gevent.event.Event()

    def backend(connection, address):
        data = connection.recv(100)
        waiting.append(data)
        gate.wait()          # nobody is answered before all 400 calls are here at once
        connection.sendall(b"answer " + data)
        connection.close()

    backends = StreamServer(("127.0.0.1", 0), backend, backlog=512)
    backends.start()

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/ping":
            return [b"pong"]
        answers = []
        with RequestExecutor() as executor:
            assert executor.engine.name == "gevent"
            for number in range(CALLS):
                executor.socket_bag.add_socket(
                    ClientSocket(), WriteOperation(b"%d\\n" % number, then=ReadOperation(line)),
                    address="tcp://127.0.0.1:%d" % backends.server_port,
                    handler={EventType.READ: lambda event: answers.append(event.frame.data)})
            executor.execute_request()
        return [b"%d" % len(set(answers))]

    WRAPPED
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    big = [gevent.spawn(get, "/fan-out") for _ in range(2)]
    while len(waiting) < 2 * CALLS:
        gevent.sleep(0.001)
    # While both executors wait, other requests go on.
    assert [get("/ping") for _ in range(10)] == [b"pong"] * 10
    assert not any(greenlet.ready() for greenlet in big)
    gate.set()
    assert [greenlet.get() for greenlet in big] == [b"200", b"200"]
    server.stop()
    backends.stop()
    print("ok")
"""


def test_wsgi_application() -> None:
    """200 concurrent back-end calls in each of two requests, other requests going on."""
    run(WSGI.replace("WRAPPED", ""))


def test_flask_application() -> None:
    library("flask")
    wrapped = """
    import flask
    plain = application
    application = flask.Flask("app")
    @application.get("/<path:path>")
    def view(path):
        return b"".join(plain({"PATH_INFO": "/" + path}, lambda status, headers: None)).decode()
    """
    run(WSGI.replace("WRAPPED", wrapped.strip()))
