"""Real servers for the end-to-end tests, each started once for the whole run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from support import servers
from support.certificates import Authority


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
def dovecot(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[int]:
    with servers.dovecot(tmp_path_factory.mktemp("dovecot"), ca) as port:
        yield port


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
