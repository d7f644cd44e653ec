"""The TCP server jobs on Twisted."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .job import HOST, announce, parse_job

protocol: Any = import_module("twisted.internet.protocol")
basic: Any = import_module("twisted.protocols.basic")
reactor: Any = import_module("twisted.internet.reactor")


class Echo(protocol.Protocol):  # type: ignore[misc]
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Lines(basic.LineOnlyReceiver):  # type: ignore[misc]
    """Sends back whole lines."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        self.transport.write(line + b"\n")


if __name__ == "__main__":
    job = parse_job()
    factory = protocol.Factory.forProtocol(Lines if job.work == "lines" else Echo)
    if job.certificate:
        ssl: Any = import_module("twisted.internet.ssl")  # which needs pyOpenSSL
        secrets = ssl.DefaultOpenSSLContextFactory(job.key, job.certificate)
        port = reactor.listenSSL(0, factory, secrets, backlog=4096, interface=HOST)
    else:
        port = reactor.listenTCP(0, factory, backlog=4096, interface=HOST)
    announce(port.getHost().port)
    reactor.run()
