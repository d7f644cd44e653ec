"""Makes sockets and executors that share one configuration."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from ._generic import overload
from .configuration import Configuration
from .engines.base import Engine
from .executor import RequestExecutor
from .sockets import ClientSocket, PersistentClientSocket, ServerSocket, SocketType


class AsyncSocketFactory:
    """A factory of sockets and executors. `configuration`: that of its executors; None: the defaults."""

    def __init__(self, configuration: Configuration | None = None) -> None:
        if configuration is not None and not isinstance(configuration, Configuration):
            raise TypeError(f"configuration must be a Configuration, got {configuration!r}")
        self.configuration = configuration if configuration is not None else Configuration()

    @overload
    def create_socket(
        self, type: Literal[SocketType.CLIENT] = ..., *, persistent: Literal[False] = ..., key: None = ...
    ) -> ClientSocket: ...

    @overload
    def create_socket(
        self, type: Literal[SocketType.CLIENT] = ..., *, persistent: Literal[True], key: Hashable = ...
    ) -> PersistentClientSocket: ...

    @overload
    def create_socket(
        self, type: Literal[SocketType.CLIENT] = ..., *, persistent: bool, key: None = ...
    ) -> ClientSocket: ...

    @overload
    def create_socket(
        self, type: Literal[SocketType.SERVER], *, persistent: Literal[False] = ..., key: None = ...
    ) -> ServerSocket: ...

    @overload
    def create_socket(
        self, type: SocketType, *, persistent: Literal[False] = ..., key: None = ...
    ) -> ClientSocket | ServerSocket: ...

    def create_socket(
        self, type: SocketType = SocketType.CLIENT, *, persistent: bool = False, key: Hashable = None
    ) -> ClientSocket | PersistentClientSocket | ServerSocket:
        """Make a client (`persistent`: with a pooled connection for `key`) or a server. ValueError for any
        other type, for a persistent server, and for a key without `persistent`."""
        if type is SocketType.SERVER:
            if persistent or key is not None:
                raise ValueError("a server cannot be persistent: leave persistent and key out")
            return ServerSocket()
        if type is not SocketType.CLIENT:
            raise ValueError(f"type must be SocketType.CLIENT or SocketType.SERVER, got {type!r}")
        if persistent:
            return PersistentClientSocket(key)
        if key is not None:
            raise ValueError("key needs persistent=True")
        return ClientSocket()

    def create_request_executor(self, engine: str | Engine | None = None) -> RequestExecutor:
        """Make an executor with this configuration; see RequestExecutor for `engine`."""
        return RequestExecutor(engine, configuration=self.configuration)
