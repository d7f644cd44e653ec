"""Clients through a proxy: real ones of SOCKS5 and HTTP, and those that refuse, lie, stall or close."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ConnectionFailedError,
    PersistentClientSocket,
    ReadOperation,
    RequestExecutor,
    SocketTimeoutError,
    StreamContext,
    Target,
    TlsHandshakeError,
    WriteOperation,
    explain,
    fan_out,
)
from support.certificates import Authority
from support.greeter import GREETING, LINE, ask, greeter, hello
from support.proxies import dante, microsocks, tinyproxy
from support.wire import add, answer, peer, quietly, read_exactly, read_to_end, reset, talk


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of real proxies: with a login (me, pass word) and without."""
    folder = tmp_path_factory.mktemp("proxies")
    with contextlib.ExitStack() as stack:
        yield {
            "socks5": stack.enter_context(microsocks(folder)),
            "socks5 dante": stack.enter_context(dante(folder)),
            "socks5 login": stack.enter_context(microsocks(folder, "-u", "me", "-P", "pass word")),
            "http": stack.enter_context(tinyproxy(folder)),
            "http login": stack.enter_context(tinyproxy(folder, "BasicAuth me secret")),
        }


def by_name(name: str, proxies: dict[str, int], login: str = "") -> dict[str, str]:
    return {"proxy": f"{name.partition(' ')[0]}://{login}127.0.0.1:{proxies[name]}"}


def test_real_proxies(engine: str, ca: Authority, proxies: dict[str, int]) -> None:
    """Plain and TLS, names and addresses, with and without a login; a server that speaks first is heard."""
    logins = {"socks5 login": "me:pass%20word@", "http login": "me:secret@"}
    with greeter() as plain, greeter("tls://127.0.0.1:0", stream_context=ca.server.settings) as secret:
        targets = [
            Target(
                address.replace("127.0.0.1", "localhost") if "login" in name else address,
                stream_context={"ca_file": ca.ca_file, **by_name(name, proxies, logins.get(name, ""))},
            )
            for name in proxies
            for address in (plain.url, secret.url)
        ]
        outcomes = list(fan_out(ask, targets, engine=engine, connection_timeout=20))
    for outcome in outcomes:
        assert outcome.value == b"ASK\n"
        assert (outcome.bytes_sent, outcome.bytes_received) == (4, len(GREETING) + 4)
        assert outcome.remote_address[1] in proxies.values()
        assert (outcome.tls is not None) is outcome.address.startswith("tls")


def test_real_refusals(engine: str, proxies: dict[str, int], unused_port: int) -> None:
    words = {
        ("socks5", ""): "refuses: connection refused (5)",
        ("socks5 dante", ""): "refuses: connection refused (5)",
        ("socks5 login", ""): "wants a login: socks5://user:password@...",
        ("socks5 login", "me:wrong@"): "refuses the user or the password",
        ("http", ""): "refuses: 500 Unable to connect",
        ("http login", ""): "refuses: 407 Proxy Authentication Required",
        ("http login", "me:wrong@"): "refuses: 401 Unauthorized",
    }
    targets = [
        Target(
            f"tcp://127.0.0.1:{unused_port}", user_context=why, stream_context=by_name(name, proxies, login)
        )
        for (name, login), why in words.items()
    ]
    settings = by_name("socks5 dante", proxies)
    why = "refuses: connection not allowed by ruleset (2)"
    targets.append(Target("tcp://192.0.2.1:80", user_context=why, stream_context=settings))
    outcomes = list(fan_out(hello, targets, engine=engine, connection_timeout=20))
    assert len(outcomes) == len(targets)
    for outcome in outcomes:
        error = outcome.error
        assert isinstance(error, ConnectionFailedError), outcome
        shown = outcome.target.metadata["stream_context"].proxy.replace("me:wrong@", "")
        why = f"{outcome.address}: the proxy {shown} {outcome.target.user_context}"
        assert str(error).startswith(why), (str(error), why)
        assert str(error).endswith(" while connecting")
        assert error.address == outcome.address and len(error.attempts) == 1
        assert isinstance(error.__cause__, OSError) and "wrong" not in str(error)


def test_names_are_looked_up_by_the_proxy(engine: str, proxies: dict[str, int]) -> None:
    asked = []

    def resolver(host: str, *more: Any) -> Any:
        asked.append(host)
        return socket.getaddrinfo(host, *more)

    with greeter() as server, RequestExecutor(engine, resolver=resolver) as executor:
        url = server.url.replace("127.0.0.1", "localhost")
        context = StreamContext(proxy=f"socks5h://localhost:{proxies['socks5']}")
        log = talk(executor, url, ReadOperation(LINE), stream_context=context)
        assert log.frames == [GREETING]
        assert asked == ["localhost"]  # the proxy's own name
        log = talk(executor, "tcp://nowhere.invalid:1", ReadOperation(LINE), stream_context=context)
        assert "refuses: " in str(log.error)
        context = StreamContext(proxy="socks5://nowhere.invalid:1")
        log = talk(executor, url, ReadOperation(LINE), stream_context=context)
    assert asked == ["localhost", "localhost", "nowhere.invalid"]
    assert str(log.error).endswith("while resolving the proxy socks5://nowhere.invalid:1")


def test_the_proxy_is_not_there(executor: RequestExecutor, unused_port: int) -> None:
    proxy = f"http://me:secret@127.0.0.1:{unused_port}"
    log = talk(executor, "tcp://192.0.2.1:80", ReadOperation(), stream_context={"proxy": proxy})
    assert str(log.error) == (
        "tcp://192.0.2.1:80: Connection refused (errno 111) "
        f"while connecting to the proxy http://127.0.0.1:{unused_port}"
    )
    assert log.error.attempts[0][0] == ("127.0.0.1", unused_port)


HELLO, LOGIN = b"\5\1\0", b"\5\2\0\2"


def socks(*answers: bytes) -> Callable[[socket.socket], object]:
    """A proxy that hears three bytes, then whatever comes, and answers each."""

    def script(sock: socket.socket) -> object:
        assert read_exactly(sock, 3) == HELLO
        sock.sendall(answers[0])
        for one in answers[1:]:
            sock.recv(1000)
            sock.sendall(one)
        return read_to_end(sock)

    return script


def http(*answers: bytes) -> Callable[[socket.socket], object]:
    """A proxy that hears a request and answers."""

    def script(sock: socket.socket) -> object:
        heard = b""
        while not heard.endswith(b"\r\n\r\n"):
            heard += sock.recv(1000)
        for one in answers:
            sock.sendall(one)
        return read_to_end(sock)

    return script


def says(*answers: bytes) -> Callable[[socket.socket], object]:
    """A proxy that gives each answer to what comes, and then none."""

    def script(sock: socket.socket) -> object:
        for one in answers:
            sock.recv(1000)
            sock.sendall(one)
        return read_to_end(sock)

    return script


OPEN = b"\5\0\0\1\0\0\0\0\0\0"
LIARS: list[tuple[str, Callable[[socket.socket], object], str]] = [
    ("socks5", socks(b"\4\0"), r"does not speak SOCKS5: b'\x04\x00'"),
    ("socks5", socks(b"\5\x07"), r"does not speak SOCKS5: b'\x05\x07'"),
    ("socks5", socks(b"\5\2"), "chose USERNAME_PASSWORD, which was not offered"),
    ("socks5", socks(b"\5\xff"), "wants a login"),
    ("socks5", socks(b"\5\0", b"\5\2" + OPEN[2:]), "refuses: connection not allowed by ruleset (2)"),
    ("socks5", socks(b"\5\0", b"\5\x55" + OPEN[2:]), "does not speak SOCKS5"),
    ("socks5", socks(b"\5\0", b"\5\0\0\2" + OPEN[4:]), "does not speak SOCKS5"),
    ("socks5", socks(b"\5\0", b"\5\0\0\3\2\xff\xff\0\0"), "does not speak SOCKS5"),
    ("socks5", answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak SOCKS5: b'HT'"),
    ("socks5", lambda sock: read_exactly(sock, 3), "ended the connection"),
    ("socks5", lambda sock: (read_exactly(sock, 3), reset(sock)), "(errno 104) while waiting for the proxy"),
    ("http", http(b"SSH-2.0-x\r\n\r\n"), "does not speak HTTP: b'SSH-2.0-x"),
    ("http", http(b"HTTP/1.1 403 \x1b[1mNo\r\n\r\n"), r"refuses: 403 \x1b[1mNo"),
    ("http", http(b"x" * 20_000), "answers without end"),
    ("http", lambda sock: sock.recv(1000) and sock.sendall(b"HTTP"), "ended the connection after b'HTTP'"),
]  # fmt: skip


def test_liars(engine: str) -> None:
    with contextlib.ExitStack() as stack:
        targets = []
        for scheme, script, words in LIARS:
            port = stack.enter_context(peer(quietly(script))).port
            context = {"proxy": f"{scheme}://127.0.0.1:{port}"}
            targets.append(Target("tcp://192.0.2.1:80", user_context=words, stream_context=context))
        outcomes = list(fan_out(hello, targets, engine=engine, connection_timeout=20))
    assert len(outcomes) == len(LIARS)
    for outcome in outcomes:
        error = outcome.error
        assert isinstance(error, ConnectionFailedError), outcome
        assert outcome.target.user_context in str(error), (str(error), outcome.target.user_context)


def test_the_peers_first_bytes(executor: RequestExecutor) -> None:
    """In one piece with the proxy's answer they are the peer's, byte by byte as well; before TLS they are
    nobody's."""
    late = (
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.0 299 Yes\nX: y\r\n\r\n".replace(b"Yes\n", b"Yes\r\n") + b"hello\n"
    )
    whole = http(late)
    bytewise = http(*(late[i : i + 1] for i in range(len(late))))
    socks_whole = socks(b"\5\0", b"\5\0\0\3\4here\0\x50hello\n")
    for scheme, script in (("http", whole), ("http", bytewise), ("socks5", socks_whole)):
        with peer(script) as proxy:
            context = {"proxy": proxy.url(scheme)}
            log = talk(executor, "tcp://192.0.2.1:80", ReadOperation(LINE), stream_context=context)
        assert log.frames == [b"hello\n"] and log.metadata.bytes_received == 6
    with peer(quietly(whole)) as proxy:
        context = {"proxy": proxy.url("http")}
        log = talk(executor, "tls://192.0.2.1:80", ReadOperation(LINE), stream_context=context)
    assert isinstance(log.error, TlsHandshakeError)
    why = "6 bytes came before the handshake, as from a peer without TLS while handshaking; tcp:// connects"
    assert why in str(log.error)


def test_a_proxy_that_stalls(executor: RequestExecutor) -> None:
    """The connection's time-out holds; another attempt begins anew."""
    with peer(quietly(read_to_end), count=2) as proxy:
        times: list[Any] = []

        def once_more(event: Any) -> None:
            times.append(event)
            if len(times) == 1:
                event.enable_one_more_attempt()

        log = talk(
            executor, "tls://192.0.2.1:443", ReadOperation(), connection_timeout=0.2,
            stream_context={"proxy": proxy.url("socks5")}, on={"TIMEOUT": once_more},
        )  # fmt: skip
        assert log.timeouts == [("CONNECTION", "connecting")] * 2
        assert log.names == ["INITIALIZE", "TIMEOUT", "INITIALIZE", "TIMEOUT", "FINALIZE"]
        assert proxy.wait() == [HELLO, HELLO]


STALLS = [
    ("socks5", "", read_to_end, "answer the greeting"),
    ("socks5", "me:secret@", says(b"\5\2"), "accept the login"),
    ("socks5", "", says(b"\5\0"), "connect to 192.0.2.1:80"),
    ("socks5", "", says(b"\5\0", OPEN[:7]), "connect to 192.0.2.1:80"),
    ("http", "", read_to_end, "connect to 192.0.2.1:80"),
    ("http", "", says(b"HTTP/1.1 103 Early\r\n\r\n"), "connect to 192.0.2.1:80"),
]


def test_a_time_out_says_what_the_proxy_was_asked(engine: str) -> None:
    with contextlib.ExitStack() as stack:
        targets = []
        for scheme, login, script, _ in STALLS:
            port = stack.enter_context(peer(quietly(script))).port
            context = {"proxy": f"{scheme}://{login}127.0.0.1:{port}"}
            targets.append(Target("tcp://192.0.2.1:80", stream_context=context))
        outcomes = fan_out(hello, targets, engine=engine, connection_timeout=0.3)
        found = {outcome.target.metadata["stream_context"].proxy: outcome.error for outcome in outcomes}
    assert len(found) == len(STALLS)
    for target, (_, login, _, asked) in zip(targets, STALLS, strict=True):
        proxy = target.metadata["stream_context"].proxy
        error = found[proxy]
        assert isinstance(error, SocketTimeoutError) and error.phase == "connecting"
        assert str(error) == (
            "tcp://192.0.2.1:80: connection time-out while waiting for the proxy "
            f"{proxy.replace(login, '')} to {asked}"
        )


def test_a_stalled_proxy_is_explained(executor: RequestExecutor) -> None:
    said = []

    def look() -> None:
        said.append(explain(executor))
        executor.stop_request()

    def script(sock: socket.socket) -> object:
        read_exactly(sock, 3)
        executor.call_soon_threadsafe(look)
        return read_to_end(sock)

    with peer(quietly(script)) as proxy:
        context = {"proxy": proxy.url("socks5")}
        talk(executor, "tls://192.0.2.1:443", ReadOperation(), stream_context=context)
    asked = f"waiting for the proxy {proxy.url('socks5')} to answer the greeting"
    assert f"waits for the connection, {asked}" in said[0]


def test_what_no_proxy_leads_to(executor: RequestExecutor, tmp_path: Path) -> None:
    for address in ("udp://127.0.0.1:53", f"unix://{tmp_path}/x"):
        log = talk(executor, address, ReadOperation(), stream_context={"proxy": "http://127.0.0.1:1"})
        assert "a proxy leads to tcp:// and tls:// only" in str(log.error)


def test_the_pool_tells_proxies_apart(executor: RequestExecutor, proxies: dict[str, int]) -> None:
    """A connection made through a proxy serves no request that is to go another way."""

    def forget(event: Any) -> None:
        executor.socket_bag.forget_socket(event.socket)

    with greeter() as server:
        names = []
        greeted, asked = ReadOperation(LINE), WriteOperation(b"ask\n", then=ReadOperation(LINE))
        through = by_name("socks5", proxies)
        for context, operation in (({}, greeted), (through, greeted), (through, asked)):
            sock = PersistentClientSocket("told apart")
            log = add(
                executor, server.url, operation, socket=sock, stream_context=context, on={"READ": forget},
            )  # fmt: skip
            executor.execute_request()
            names.append("CONNECTED" in log.names)
        assert names == [True, True, False]
        for again in ({}, through):
            sock = PersistentClientSocket("told apart")
            log = add(executor, server.url, WriteOperation(b"bye\n", then=ReadOperation()), socket=sock,
                      stream_context=again)  # fmt: skip
            executor.execute_request()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "evsockets\[proxy\]"'):
        StreamContext(proxy="socks5://127.0.0.1:5999")
    StreamContext(proxy="http://127.0.0.1:5999")
