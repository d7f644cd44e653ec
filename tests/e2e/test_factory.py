"""The factory of sockets and executors."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    AsyncSocketFactory,
    ClientSocket,
    Configuration,
    PersistentClientSocket,
    ReadOperation,
    ServerSocket,
    SocketType,
)


def test_the_factory_makes_every_kind() -> None:
    factory = AsyncSocketFactory()
    assert type(factory.create_socket()) is ClientSocket
    assert type(factory.create_socket(SocketType.SERVER)) is ServerSocket
    persistent: Any = factory.create_socket(SocketType.CLIENT, persistent=True, key="mine")
    assert type(persistent) is PersistentClientSocket and persistent.key == "mine"
    for wrong in ("client", None, 1):
        with pytest.raises(ValueError, match=r"SocketType\.CLIENT"):
            factory.create_socket(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="persistent"):
        factory.create_socket(SocketType.SERVER, persistent=True)


def test_the_factory_hands_its_configuration_on(engine: str) -> None:
    factory = AsyncSocketFactory(Configuration(connection_timeout=7, io_timeout=8, idle_timeout=9))
    with factory.create_request_executor(engine) as executor:
        assert executor.engine.name == engine.partition(":")[0]
        metadata = executor.socket_bag.add_socket(factory.create_socket(), ReadOperation())
        timeouts = metadata.connection_timeout, metadata.io_timeout, metadata.idle_timeout
        assert timeouts == (7, 8, 9)
    with pytest.raises(TypeError, match="configuration"):
        AsyncSocketFactory({"io_timeout": 8})  # type: ignore[arg-type]
