"""Real servers for the end-to-end tests, each started once for the whole run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from evsockets import RequestExecutor
from evsockets.testing.plugin import demanded
from support import servers, wire
from support.certificates import Authority, server_side
from support.conversation import Talk
from support.greeter import Fan, Greeter, greeter
from support.queued import Queue, queued
from support.service import Peers, Serve, Service
from support.states import Sampler
from support.wire import Log, Said, Secure, add, peer, quietly, tls_script


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What concerns no engine, or is marked so, runs where the standard library's is tested, once."""
    wanted = demanded(config)
    if not wanted or any(name.partition(":")[0] == "selectors" for name in wanted):
        return
    here = Path(__file__).parent
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        names = getattr(item, "fixturenames", ())
        each = ("engine" in names and not item.get_closest_marker("once")) or "gevent_is_tested" in names
        (kept if each or here not in item.path.parents else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture
def talk(executor: RequestExecutor) -> Iterator[Talk]:
    """Conversations over real sockets."""
    with closing(Talk(executor)) as made:
        yield made


@pytest.fixture
def greets() -> Iterator[Greeter]:
    """Somebody to talk to in a thread."""
    with greeter() as made:
        yield made


@pytest.fixture
def fan(engine: str, greets: Greeter) -> Fan:
    """`fan(function, targets, limit=3)` is a fan-out on the engine; of no targets, to `greets`."""
    return Fan(engine, greets)


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[servers.Nginx]:
    with servers.nginx(tmp_path_factory.mktemp("nginx"), ca) as running:
        yield running


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    with servers.redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="session")
def dnsmasq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with servers.dnsmasq(tmp_path_factory.mktemp("dnsmasq")) as port:
        yield port


@pytest.fixture(scope="session")
def dovecot(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[servers.Dovecot]:
    with servers.dovecot(tmp_path_factory.mktemp("dovecot"), ca) as running:
        yield running


@pytest.fixture(scope="session")
def exim(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[servers.Exim]:
    with servers.exim(tmp_path_factory.mktemp("exim"), ca) as running:
        yield running


@pytest.fixture
def openssl_server(tmp_path: Path, ca: Authority) -> Callable[..., AbstractContextManager[int]]:
    """`with openssl_server("-tls1_2") as port:` an `openssl s_server -rev` with those options."""

    def start(*options: str, **settings: Any) -> AbstractContextManager[int]:
        return servers.openssl_server(tmp_path, ca.server, *options, **settings)

    return start


@pytest.fixture
def socat_echo(tmp_path: Path) -> Callable[..., AbstractContextManager[str]]:
    """`with socat_echo("tcp") as address:` an echo server by socat."""

    def start(kind: str, **settings: Any) -> AbstractContextManager[str]:
        return servers.socat_echo(tmp_path, kind, **settings)

    return start


@pytest.fixture(scope="session")
def uvloop_once() -> None:
    """What uvloop opens for the whole process is there before descriptors are counted."""
    with contextlib.suppress(ImportError):
        import uvloop

        async def listen() -> None:
            server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
            server.close()
            await server.wait_closed()

        uvloop.run(listen())


@pytest.fixture
def server(executor: RequestExecutor) -> Iterator[Serve]:
    """`server(address, says=[b"line\\n"])` is a `Service` in `executor`; its peers are closed at the end."""
    with Peers() as peers:
        yield functools.partial(Service, executor, peers=peers)


@pytest.fixture
def client(executor: RequestExecutor) -> Callable[..., Log]:
    """`client(address, operation)` adds a client of `executor` and is its `Log`."""
    return functools.partial(add, executor)


@pytest.fixture
def secure(executor: RequestExecutor, ca: Authority) -> Secure:
    """`log, (result,) = secure(script, operation)`: a client that trusts `ca`, and its TLS peer.

    The peer runs `script` in TLS by `context` (not `wrapped`: the script does that itself). `settings` are
    the client's stream context besides, `scheme` its address's. `quiet`: the client is expected to go away.
    """

    def run(
        script: Callable[[Any], object],
        operation: Said,
        scheme: str = "tls",
        *,
        host: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
        wrapped: bool = True,
        quiet: bool = False,
        receive_buffer: int | None = None,
        settings: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> tuple[Log, list[Any]]:
        whole = tls_script(context or server_side(ca), script) if wrapped else script
        with peer(quietly(whole) if quiet else whole, receive_buffer=receive_buffer) as other:
            trust = {"ca_file": ca.ca_file} if settings is None or "tls" not in settings else {}
            more["stream_context"] = {**trust, **(settings or {})}
            return wire.talk(executor, other.url(scheme, host), operation, **more), other.wait()

    return run


@pytest.fixture
def queue(ca: Authority, tmp_path: Path) -> Iterator[Queue]:
    """`queue(kind)`: peers for a listener of that kind."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: stack.enter_context(queued(kind, ca, tmp_path))


@pytest.fixture(autouse=True)
def states_at_rest(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whenever the engine is about to be asked, every channel is in a state of the table."""
    sampler = Sampler(monkeypatch)
    yield
    assert not sampler.wrong, sampler.wrong[:5]
