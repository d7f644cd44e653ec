"""Lines on Twisted in the sequential style, as client and server: inlineCallbacks over a queue of lines."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .job import HOST, LINE, Finish, Job, Stopwatch, announce, nothing, parse_job, report, resident

defer: Any = import_module("twisted.internet.defer")
endpoints: Any = import_module("twisted.internet.endpoints")
protocol: Any = import_module("twisted.internet.protocol")
basic: Any = import_module("twisted.protocols.basic")
reactor: Any = import_module("twisted.internet.reactor")


class Lines(basic.LineOnlyReceiver):  # type: ignore[misc]
    """Lines that are waited for; None is the end."""

    delimiter = b"\n"
    talk: Callable[[Any], Any]

    def connectionMade(self) -> None:
        self.queue = defer.DeferredQueue()
        self.talk()

    def lineReceived(self, line: bytes) -> None:
        self.queue.put(line)

    def connectionLost(self, reason: Any) -> None:
        self.queue.put(None)


class Echo(Lines):
    """Sends back whole lines."""

    @defer.inlineCallbacks  # type: ignore[untyped-decorator]
    def talk(self) -> Any:
        while (line := (yield self.queue.get())) is not None:
            self.transport.write(line + b"\n")


def lines(job: Job, count: int, connections: int, finish: Finish) -> Any:
    """Lines out and back on `connections` connections; a Deferred of when all are through."""
    quota = count // connections
    busy = connections
    finished = defer.Deferred()

    class Exchange(Lines):
        @defer.inlineCallbacks  # type: ignore[untyped-decorator]
        def talk(self) -> Any:
            nonlocal busy
            sent = min(job.depth, quota)
            self.transport.write(LINE * sent)
            for _ in range(quota):
                if (yield self.queue.get()) is None:
                    raise ConnectionError("the server went away")
                if sent < quota:
                    sent += 1
                    self.transport.write(LINE)
            busy -= 1
            if not busy:
                finish()
                finished.callback(quota * connections)

    end = endpoints.TCP4ClientEndpoint(reactor, HOST, job.port)
    for _ in range(connections):
        end.connect(protocol.Factory.forProtocol(Exchange))
    return finished


@defer.inlineCallbacks  # type: ignore[untyped-decorator]
def client(job: Job) -> Any:
    """Run one client job, and report it."""
    if job.work == "hold":
        yield lines(job, 20, 20, nothing)
        before, after = resident(), []
        yield lines(job, job.count, job.count, lambda: after.append(resident()))
        report(count=job.count, bytes=(after[0] - before) / job.count)
    else:
        yield lines(job, job.concurrency * 10, job.concurrency, nothing)
        watch = Stopwatch()
        watch.report((yield lines(job, job.count, job.concurrency, nothing)))
    reactor.stop()


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.port:
        client(chosen)
    else:
        listening = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), backlog=4096, interface=HOST)
        announce(listening.getHost().port)
    reactor.run()
