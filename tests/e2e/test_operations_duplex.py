"""Both directions at once over real sockets, and over TLS."""

from __future__ import annotations

import socket

from core.test_operations_duplex import *  # noqa: F403
from core.test_operations_duplex import both, of_every_size
from evsockets import RequestExecutor
from support.certificates import Authority, server_side
from support.wire import peer, read_exactly, tls_script
from support.wire import talk as hold


def test_writes_of_every_size_leave_in_order_over_tls(executor: RequestExecutor, ca: Authority) -> None:
    queued, whole = of_every_size()

    def script(sock: socket.socket) -> bool:
        return read_exactly(sock, len(whole)) == whole

    with peer(tls_script(server_side(ca), script), receive_buffer=8192) as server:
        log = hold(executor, server.url("tls"), both(*queued), stream_context={"ca_file": ca.ca_file})
    assert server.results == [True]
    assert log.names.count("WRITE") == len(queued) and not log.errors
