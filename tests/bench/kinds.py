"""The kinds of measurement: each takes one sample of one peer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from .lab import INSTRUCTIONS, SYSTEM_CALLS, BenchError, Counter, Lab


@dataclass(frozen=True, slots=True)
class Peer:
    """A program under test: a module of `peers` and its flavour, or the C helper (module "").

    `needs` is the module it cannot run without, or `engine:NAME` for one of the library's engines.
    """

    name: str
    client: str
    server: str = ""
    flavour: str = ""
    needs: str = ""
    events: bool = False

    def options(self) -> list[str]:
        """The part of its command line that says which peer it is."""
        return ["--flavour", self.flavour, *(["--events"] if self.events else [])]


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, and the processor microseconds per unit of work where that means something."""

    value: float
    cpu: float | None = None


@dataclass(frozen=True, kw_only=True)
class Kind(ABC):
    """A row of a section: what is measured, in which unit, on whom."""

    title: str
    unit: str
    peers: list[Peer] = field(repr=False)
    base: str = "raw epoll"

    @abstractmethod
    def sample(self, lab: Lab, peer: Peer) -> Sample:
        """Run `peer` once."""


@dataclass(frozen=True, kw_only=True)
class Client(Kind):
    """A client job against the C server: work per second."""

    work: str
    count: int
    concurrency: int = 50
    depth: int = 1
    tls: bool = False
    unit: str = "per second"

    def server_command(self, lab: Lab) -> list[str]:
        mode = {"fanout": "reply", "source": "source", "sink": "sink"}.get(self.work, "echo")
        extra = list(lab.certificates[1:]) if self.tls else []
        if self.work == "source":
            extra = [str(lab.scale(self.count))]
        return [lab.native["server"], mode, *extra]

    def command(self, lab: Lab, peer: Peer, port: int, count: int) -> list[str]:
        if not peer.client:
            if self.work == "fanout":
                arguments = ["fanout", port, count, self.concurrency]
            else:
                arguments = ["lines", port, self.concurrency, self.depth, 64, 0, count]
            return [lab.native["generator"], *map(str, arguments)]
        options = [*peer.options(), "--port", str(port), "--count", str(count)]
        options += ["--concurrency", str(self.concurrency), "--depth", str(self.depth)]
        if self.tls:
            options += ["--ca", lab.certificates[0]]
        return lab.python(peer.client, self.work, *options)

    def result(self, lab: Lab, peer: Peer) -> dict[str, float]:
        with lab.serving(self.server_command(lab), load=True) as server:
            result = lab.run(self.command(lab, peer, server.port, lab.scale(self.count)))
        if result["count"] < lab.scale(self.count) - self.concurrency:
            raise BenchError(f"{peer.name} did only {result['count']} of {lab.scale(self.count)}")
        return result

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        result = self.result(lab, peer)
        return Sample(result["count"] / result["seconds"], result["cpu"] / result["count"] * 1e6)


@dataclass(frozen=True, kw_only=True)
class ClientBulk(Client):
    """One connection, much data: processor seconds per GiB."""

    unit: str = "CPU s per GiB"

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        result = self.result(lab, peer)
        return Sample(result["cpu"] * 2**30 / result["count"])


@dataclass(frozen=True, kw_only=True)
class ClientMemory(Client):
    """Connected sockets at rest, one round trip done on each: bytes of memory for each."""

    unit: str = "bytes each"

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        return Sample(self.result(lab, peer)["bytes"])


@dataclass(frozen=True, kw_only=True)
class Soak(Kind):
    """Connections that come and go, ten lines on each: memory at the end, to that after a tenth of them."""

    unit: str = "x memory"
    count: int
    limit: float = 3600.0

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        command = lab.python(peer.client, "soak", *peer.options(), "--count", str(lab.scale(self.count)))
        result = lab.run(command, limit=self.limit)
        return Sample(result["after"] / result["before"])


@dataclass(frozen=True, kw_only=True)
class Turn(Client):
    """A pair of busy sockets beside `idle` idle ones: microseconds a turn. Peers are names of crowds."""

    work: str = "turn"
    unit: str = "us a turn"

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        crowd = int(peer.name.rpartition(" ")[2])
        with lab.serving(self.server_command(lab), load=True) as server:
            command = self.command(lab, peer, server.port, lab.scale(self.count))
            result = lab.run([*command, "--concurrency", str(crowd)])
        return Sample(result["seconds"] / result["count"] * 1e6, result["cpu"] / result["count"] * 1e6)


@dataclass(frozen=True, kw_only=True)
class ClientCounts(Client):
    """What `counter` counts per request: the difference of a long and a short run."""

    unit: str = "each"
    counter: Counter = SYSTEM_CALLS

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        totals = []
        short = lab.scale(self.count)
        for count in (short, short * 5):
            summary = lab.folder / "counted"
            with lab.serving(self.server_command(lab), load=True) as server:
                command = self.command(lab, peer, server.port, count)
                lab.run(self.counter.before(command, summary))
            totals.append(self.counter.read(summary))
        return Sample((totals[1] - totals[0]) / (short * 4))


@dataclass(frozen=True, kw_only=True)
class Serve(Kind):
    """A server job under the C generator: messages per second."""

    work: str
    connections: int = 50
    depth: int = 1
    tls: bool = False
    seconds: float = 1.5
    unit: str = "messages/s"

    def command(self, lab: Lab, peer: Peer) -> list[str]:
        secrets = list(lab.certificates[1:]) if self.tls else []
        if not peer.server:
            return [lab.native["server"], "udp" if self.work == "udp" else "echo", *secrets]
        if secrets:
            secrets = ["--certificate", secrets[0], "--key", secrets[1]]
        return lab.python(peer.server, self.work, *peer.options(), *secrets)

    def load(
        self, lab: Lab, port: int, connections: int, seconds: float, messages: int = 0
    ) -> dict[str, float]:
        mode = "udp" if self.work == "udp" else "tls" if self.tls else "lines"
        arguments = [mode, port, connections, self.depth, 64, seconds, messages]
        return lab.run([lab.native["generator"], *map(str, arguments)], load=True)

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        seconds = self.seconds / (5 if lab.quick else 1)
        with lab.serving(self.command(lab, peer)) as server:
            # Ends with an end of stream, after which asyncio's large receive buffers cost it less.
            self.load(lab, server.port, 1, 0.1)
            before = server.cpu()
            result = self.load(lab, server.port, self.connections, seconds)
            used = server.cpu() - before
        return Sample(result["count"] / result["seconds"], used / (result["count"] + result["warmed"]) * 1e6)


@dataclass(frozen=True, kw_only=True)
class ServeMemory(Serve):
    """Idle accepted connections, one round trip done on each: bytes of memory for each."""

    work: str = "echo"
    unit: str = "bytes each"

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        count = lab.scale(self.connections)
        with lab.serving(self.command(lab, peer)) as server:
            with lab.idling(server.port, 20):
                pass
            before = server.resident()
            with lab.idling(server.port, count):
                return Sample((server.resident() - before) / count)


@dataclass(frozen=True, kw_only=True)
class ServeCounts(Serve):
    """What `counter` counts per message: the difference of a long and a short run."""

    unit: str = "each"
    counter: Counter = SYSTEM_CALLS
    messages: int = 2000

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        totals, done = [], []
        for messages in (self.messages, self.messages * 6):
            summary = lab.folder / "counted"
            with lab.counted(self.command(lab, peer), self.counter, summary) as server:
                self.load(lab, server.port, 1, 0, 100)
                done.append(self.load(lab, server.port, self.connections, 0, messages)["count"])
            totals.append(self.counter.read(summary))
        return Sample((totals[1] - totals[0]) / (done[1] - done[0]))


@dataclass(frozen=True, kw_only=True)
class Making(Kind):
    """Milliseconds of processor time to make and close an executor."""

    unit: str = "ms"
    count: int = 500

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        result = lab.run(lab.python(peer.client, "make", *peer.options(), "--count", str(self.count)))
        return Sample(result["cpu"] / result["count"] * 1e3)


@dataclass(frozen=True, kw_only=True)
class Polls(Kind):
    """An engine alone with 100 descriptors watched: instructions of one poll, or of each further event in it.
    Those of a poll are the difference of a long and a short run."""

    further: bool
    unit: str = "instructions"
    base: str = "select.epoll"
    polls: int = 200
    ready: int = 51

    def cost(self, lab: Lab, peer: Peer, ready: int) -> float:
        """Of a poll that finds so many ready."""
        totals, summary = [], lab.folder / "counted"
        for polls in (self.polls, self.polls * 5):
            options = ["--count", str(polls), "--concurrency", str(ready)]
            lab.run(INSTRUCTIONS.before(lab.python(peer.client, "polls", *peer.options(), *options), summary))
            totals.append(INSTRUCTIONS.read(summary))
        return (totals[1] - totals[0]) / (self.polls * 4)

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        one = self.cost(lab, peer, 1)
        if not self.further:
            return Sample(one)
        return Sample((self.cost(lab, peer, self.ready) - one) / (self.ready - 1))
