"""HTTP in conversations: a server and raw clients, a client and real servers, and both with each other."""

from __future__ import annotations

import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from evsockets import EventType, ReadOperation, RequestExecutor, fan_out
from evsockets.http import HttpError, RequestPicker, request, requests
from support.servers import Nginx
from support.serving import Serving, serving
from support.wire import peer, read_to_end


async def pieces(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d," % number
    yield b""


async def application(talk: Any, settings: dict[str, Any]) -> None:
    """Answers with what was asked, in the way that the target names."""
    async for asked in requests(talk, **settings):
        if asked.target == "/pieces":
            await asked.answer(200, {}, pieces(3))
        elif asked.target == "/iterable":
            await asked.answer(200, {"Content-Length": "6"}, iter([b"abc", b"def"]))
        elif asked.target == "/none":
            await asked.answer(204)
        elif asked.target == "/upload":
            sizes = [len(piece) async for piece in asked.pieces()]
            await asked.answer(200, {}, b"%d" % sum(sizes))
        elif asked.target == "/refuse":
            await asked.answer(403, {}, b"no")
        elif asked.target == "/switch":
            await asked.answer(101, {"Upgrade": "echo", "Connection": "upgrade"})
            await talk.write((await talk.read()).data)
            return
        else:
            await asked.answer(200, {"X-Method": asked.method}, asked.target.encode() + b" " + asked.body)


@pytest.fixture
def site(engine: str) -> Iterator[Serving]:
    with serving(application, args=({"timeout": 20, "max_body": 1000},), engine=engine) as running:
        yield running


GET = b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n"


def bodies(answer: bytes) -> list[bytes]:
    return [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_pipelined_requests(site: Serving) -> None:
    chunked = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"
    asked = GET % (b"/a", b"") + POST % (b"/b", 2, b"") + b"hi" + chunked
    asked += GET % (b"/pieces", b"") + GET % (b"/iterable", b"") + GET % (b"/none", b"")
    asked += GET.replace(b"GET", b"HEAD") % (b"/d", b"") + GET % (b"/e", b"Connection: close\r\n")
    asked += GET % (b"/nobody", b"")
    answer = site.ask(asked)
    assert bodies(answer) == [
        b"/a ", b"/b hi", b"/c abc", b"2\r\n0,\r\n2\r\n1,\r\n2\r\n2,\r\n0\r\n\r\n", b"abcdef",
        b"", b"", b"/e ",
    ]  # fmt: skip
    assert answer.count(b"Connection: close") == 1 and b"Content-Length: 3\r\nDate" in answer


def test_http_1_0(site: Serving) -> None:
    answer = site.ask(b"GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert bodies(answer) == [b"0,1,2,"] and b"Connection: close" in answer and b"Encoding" not in answer
    answer = site.ask(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\n\n")
    assert bodies(answer) == [b"/a ", b"/b "]


@pytest.mark.parametrize(("data", "status"), [
    (b"nonsense\r\n\r\n", 400), (GET % (b"/", b"A: " + b"a" * 20_000 + b"\r\n"), 431),
    (POST % (b"/", 1001, b"") + b"a" * 1001, 413), (POST % (b"/", 5, b"Expect: tea\r\n"), 417),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"a" * 2000, 413),
])  # fmt: skip
def test_refusals_end_the_connection(site: Serving, data: bytes, status: int) -> None:
    answer = site.ask(GET % (b"/a", b"") + data)
    assert statuses(answer) == [200, status] and b"Connection: close" in answer


def test_who_is_slow_is_told(engine: str) -> None:
    settings = {"timeout": 0.1}
    with serving(application, args=(settings,), engine=engine) as running:
        for begun in (b"GET / HT", b"\r\n", POST % (b"/", 5, b"") + b"a"):
            with running.connect() as sock:
                sock.sendall(begun)
                assert statuses(read_to_end(sock)) == [408]
        with running.connect() as silent:  # who says nothing is not slow, until a drain
            running.drain(0.1)
            assert read_to_end(silent) == b""


def test_a_body_is_asked_for_when_it_is_wanted(engine: str) -> None:
    with serving(application, args=({"stream": True},), engine=engine) as running:
        with running.connect() as sock:
            sock.sendall(POST % (b"/upload", 200_000, b"Expect: 100-continue\r\n"))
            assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"a" * 200_000 + GET % (b"/a", b"Connection: close\r\n"))
            assert bodies(read_to_end(sock)) == [b"6\r\n200000\r\n0\r\n\r\n".split(b"\r\n")[1], b"/a "]
        answer = running.ask(POST % (b"/refuse", 5, b"") + b"abcde" + GET % (b"/a", b""))
        assert bodies(answer) == [b"no", b"/a "]  # a short body that nobody reads is skipped
        answer = running.ask(POST % (b"/refuse", 5, b"Expect: 100-continue\r\n"))
        assert statuses(answer) == [403] and b"Connection: close" in answer


def test_another_protocol_takes_over(site: Serving) -> None:
    with site.connect() as sock:
        sock.sendall(GET % (b"/switch", b"Upgrade: echo\r\nConnection: upgrade\r\n"))
        assert sock.recv(1000).startswith(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n")
        sock.sendall(b"now something else")
        assert read_to_end(sock) == b"now something else"


def test_an_answer_is_given_once(engine: str) -> None:
    async def application(talk: Any) -> None:
        async for asked in requests(talk):
            if asked.target == "/twice":
                await asked.answer(200)
                await asked.answer(200)
            if asked.target == "/short":
                await asked.answer(200, {"Content-Length": "9"}, iter([b"abc"]))

    errors: list[str] = []
    handler = {EventType.EXCEPTION: lambda event: errors.append(str(event.exception.__cause__))}
    with serving(application, engine=engine, handler=handler) as running:
        for target in (b"/twice", b"/short", b"/never"):
            running.ask(GET % (target, b""))
    assert ["is answered already" in errors[0], "Content-Length is 9" in errors[1]] == [True, True]
    assert "has no answer" in errors[2]


# ---- the client ------------------------------------------------------------------------------------


def talked(engine: str, function: Any, port: int) -> Any:
    """What a conversation with that port returns."""
    (outcome,) = fan_out(function, [f"tcp://127.0.0.1:{port}"], engine=engine, io_timeout=20)
    return outcome.value


def test_a_client_and_a_server_of_ours(engine: str, site: Serving) -> None:
    async def client(talk: Any) -> list[Any]:
        got: list[bytes] = []
        asks = [
            await request(talk, "GET", "/a"),
            await request(talk, "POST", "/b", {"X-A": "b"}, b"body"),
            await request(talk, "POST", "/c", (), iter([b"bo", b"", b"dy"])),
            await request(talk, "POST", "/d", (), pieces(2)),
            await request(talk, "HEAD", "/e"),
            await request(talk, "PUT", "/f", {"Expect": "100-continue"}, b"body"),
            await request(talk, "GET", "/pieces", into=got.append),
            await request(talk, "GET", "/none"),
            await request(talk, "PUT", "/large", (), (b"x" * 65536 for _ in range(400))),
        ]
        assert b"".join(got) == b"0,1,2,"
        return [(each.status, each.body, each.keep_alive) for each in asks]

    assert talked(engine, client, site.local[1]) == [
        (200, b"/a ", True), (200, b"/b body", True), (200, b"/c body", True), (200, b"/d 0,1,", True),
        (200, b"", True), (200, b"/f body", True), (200, b"", True), (204, b"", True),
        (413, b"the body is over 1000 bytes\n", False),
    ]  # fmt: skip


def test_a_client_of_nginx_and_of_http_server(engine: str, nginx: Nginx) -> None:
    class Plain(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"to the end")

        def log_message(self, *_: object) -> None:
            pass

    async def client(talk: Any) -> list[Any]:
        one = await request(talk, "GET", "/")
        two = await request(talk, "GET", "/") if one.keep_alive else None
        return [one, two]

    one, two = talked(engine, client, nginx.http)
    assert one.status == 200 and one.body == two.body == nginx.page and "server" in one.headers
    with http.server.HTTPServer(("127.0.0.1", 0), Plain) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        one, two = talked(engine, client, server.server_port)
        thread.join()
    assert (one.body, one.version, two) == (b"to the end", (1, 0), None)


def test_a_server_that_lies(engine: str) -> None:
    async def client(talk: Any) -> Any:
        return await request(talk, "GET", "/", max_body=100)

    for said, why in [
        (b"SSH-2.0-x\r\n\r\n", "malformed"), (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "over 100"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "chunked"),
        (b"HTTP/1.1 100 C\r\n\r\n" * 40, "interim"), (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, "over 100"),
    ]:  # fmt: skip

        def script(sock: Any, said: bytes = said) -> None:
            sock.recv(1000)
            sock.sendall(said)

        with peer(script) as lying, pytest.raises(HttpError, match=why):
            talked(engine, client, lying.port)


def test_what_makes_no_request(engine: str, site: Serving) -> None:
    async def client(talk: Any) -> int:
        for method, target, headers, says in [
            ("G T", "/", {}, "no method"), ("GET", "/a b", {}, "no target"), ("GET", "/é", {}, "no target"),
            ("GET", "/", {"A": "b\r\nC: d"}, "A: 'b"), ("PUT", "/", {"Content-Length": "3"}, "0 bytes"),
        ]:  # fmt: skip
            with pytest.raises(ValueError, match=says):
                await request(talk, method, target, headers)
        return (await request(talk, "GET", "/")).status

    assert talked(engine, client, site.local[1]) == 200


def test_requests_in_handlers(executor: RequestExecutor, server: Any) -> None:
    picker = RequestPicker()

    def answer(event: Any) -> None:
        event.next_is_write(event.frame.response(200, {"A": "b"}, event.frame.target.encode()))

    service = server(
        says=[GET % (b"/a", b"Connection: close\r\n")],
        first=lambda: ReadOperation(picker),
        handler={"READ": answer},
    ).execute()
    (said,) = service.answers()
    assert said.startswith(b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n")
    assert said.endswith(b"\r\n\r\n/a")
