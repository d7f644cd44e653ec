"""What is measured, section by section."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import files
from .kinds import (
    Client,
    ClientBulk,
    ClientCounts,
    ClientMemory,
    Kind,
    Making,
    Peer,
    Polls,
    Serve,
    ServeCounts,
    ServeMemory,
    Soak,
    Turn,
)
from .lab import INSTRUCTIONS, SYSTEM_CALLS

C = Peer("C epoll", "", "")
RAW = Peer("raw epoll", "raw_client", "raw_server")
INTO = Peer("raw epoll, 256 KiB", "raw_client", flavour="into")
DRAIN = Peer("raw epoll, drained", "", "raw_server", "drain")
EV = Peer("raw libev", "ev_client", needs="gevent")
HUB = Peer("raw gevent hub", "ev_client", flavour="hub", needs="gevent")
UV_PROTOCOL = Peer("uvloop Protocol", "aio_client", "aio_server", "uvloop-protocol", "uvloop")
UV_STREAMS = Peer("uvloop streams", "aio_client", "aio_server", "uvloop-streams", "uvloop")
AIO_PROTOCOL = Peer("asyncio Protocol", "aio_client", "aio_server", "asyncio-protocol")
AIO_STREAMS = Peer("asyncio streams", "aio_client", "aio_server", "asyncio-streams")
GEVENT = Peer("gevent", "green_client", "green_server", needs="gevent")
TWISTED = Peer("Twisted", "", "twisted_server", needs="twisted")


def ours(engine: str, label: str = "", *, events: bool = False) -> Peer:
    """The library on `engine`."""
    name = "evsockets" + (f" ({label})" if label else "")
    return Peer(name, "our_client", "our_server", engine, f"engine:{engine}", events)


OURS = ours("selectors")
EVENTS = ours("selectors", "all events", events=True)
DIRECT = [
    replace(ours("selectors", label, events=events), flavour="selectors+direct")
    for label, events in (("DatagramOperation, all events", True), ("DatagramOperation", False))
]
BATCHES = [
    replace(ours("selectors", label, events=events), flavour="selectors+batch")
    for label, events in (("BatchFramePicker, all events", True), ("BatchFramePicker", False))
]
ENGINES = [ours(engine, engine) for engine in ("selectors", "libev", "gevent")]
COUNTED = [ENGINES[0], ENGINES[1], ours("libevent", "libevent"), ENGINES[2]]
POLLED = [
    Peer(flavour or name, "polls", flavour=name, needs=needs)
    for name, flavour, needs in (
        ("epoll", "select.epoll", ""),
        ("pyev", "pyev's Loop.poll", "pyev"),
        ("selectors", "", "engine:selectors"),
        ("libev", "", "engine:libev"),
        ("libev-gevent", "libev on gevent's core", "gevent"),
        ("libevent", "", "engine:libevent"),
    )
]
FACILITIES = list(zip((RAW, EV, HUB), ENGINES, strict=True))  # each engine beside a raw loop on what it uses
MAIN = [RAW, EVENTS, OURS]
WATCHED = [
    EVENTS,
    OURS,
    *(
        Peer(f"evsockets ({name})", "our_client", "our_server", f"selectors+{name}", needs)
        for name, needs in (("timeline", ""), ("prometheus", "prometheus_client"))
    ),
]
LOOPS = [UV_PROTOCOL, UV_STREAMS, AIO_PROTOCOL, AIO_STREAMS, GEVENT]
TALK = Peer("evsockets, conversations", "talk_client", "talk_server", "selectors", "engine:selectors")
POST = Peer("evsockets, by post", "", "talk_server", "selectors-post", "engine:selectors")
ANYIO = Peer("anyio", "anyio_client", "anyio_server", "asyncio", "anyio")
INLINE = Peer("Twisted, inlineCallbacks", "twisted_inline", "twisted_inline", needs="twisted")
SEQUENTIAL = [OURS, TALK, UV_STREAMS, AIO_STREAMS, ANYIO, GEVENT, INLINE]
CLIENTS = [*MAIN, TALK, C, *LOOPS]
SERVERS = [*MAIN, C, *LOOPS, TWISTED]
CROWDS = [
    Peer(f"{name} {crowd}", module, flavour=flavour, needs=needs)
    for name, module, flavour, needs in (
        ("raw epoll, idle:", "raw_client", "", ""),
        ("evsockets, idle:", "our_client", "selectors", "engine:selectors"),
    )
    for crowd in (0, 10_000)
]


def crowded(peer: Peer, crowd: int) -> Peer:
    """`peer` beside so many idle sockets."""
    return replace(peer, name=f"{peer.name}, idle: {crowd}")


GIB = 2**30


def fanout(
    title: str, peers: list[Peer], count: int, at_a_time: int, tls: bool = False, base: str = RAW.name
) -> Client:
    """Short requests, each a connection of its own."""
    full = f"{title}: {count:,} requests, {at_a_time} at a time"
    return Client(
        title=full, work="fanout", unit="requests/s", count=count, concurrency=at_a_time, tls=tls,
        peers=peers, base=base,
    )  # fmt: skip


def lines(title: str, peers: list[Peer], count: int, depth: int = 1, base: str = RAW.name) -> Client:
    """Newline-framed request/response on 50 connections."""
    full = f"{title}, 50 connections, {depth} outstanding on each"
    return Client(title=full, work="lines", unit="lines/s", count=count, depth=depth, peers=peers, base=base)


def beside_idle(title: str, peers: list[Peer]) -> Turn:
    """One busy pair, alone and beside 10,000 idle sockets."""
    crowds = [crowded(peer, crowd) for crowd in (0, 10_000) for peer in peers]
    return Turn(title=f"{title} beside idle sockets", count=50_000, peers=crowds, base=crowds[0].name)


def echo(title: str, work: str, connections: int = 50, depth: int = 1, *, tls: bool = False) -> Serve:
    """A server job under load."""
    peers = [DRAIN if peer is UV_STREAMS else peer for peer in SERVERS if peer not in (AIO_STREAMS, TWISTED)]
    peers += DIRECT
    if work != "udp":
        peers = [peer for peer in SERVERS if not (peer is C and work == "lines")]
    if depth > 1:
        peers += BATCHES
    return Serve(title=title, work=work, connections=connections, depth=depth, tls=tls, peers=peers)


def held(title: str, peers: list[Peer], count: int, base: str = RAW.name) -> ClientMemory:
    """Memory of connections at rest."""
    return ClientMemory(title=title, work="hold", count=count, peers=peers, base=base)


def client_counts(
    title: str, work: str, peers: list[Peer], count: int, base: str = RAW.name, **more: Any
) -> ClientCounts:
    """Instructions of a client job."""
    counter = more.pop("counter", INSTRUCTIONS)
    return ClientCounts(title=title, work=work, count=count, peers=peers, base=base, counter=counter, **more)


def server_counts(title: str, work: str, peers: list[Peer], base: str = RAW.name, **more: Any) -> ServeCounts:
    """Instructions of a server job."""
    counter = more.pop("counter", INSTRUCTIONS)
    return ServeCounts(title=title, work=work, peers=peers, base=base, counter=counter, **more)


def instructions(
    title: str, work: str, connections: int = 50, depth: int = 1, **options: bool
) -> ServeCounts:
    """Instructions per message of a server."""
    full, peers = f"Instructions of {title}", echo("", work).peers
    return server_counts(full, work, peers, connections=connections, depth=depth, **options)


INSTRUCTIONS_EACH: list[Kind] = [
    instructions("an echo server, 50 connections, per message", "echo"),
    instructions("an echo server, one connection, per message", "echo", 1),
    instructions("a line echo server, 50 connections, per line", "lines"),
    instructions("a line echo server, 16 outstanding on each of 50, per line", "lines", 50, 16),
    instructions("a TLS echo server, 50 connections, per message", "echo", tls=True),
    instructions("a UDP echo server, 50 sockets, per datagram", "udp"),
    client_counts("Instructions of a fan-out, per request", "fanout", CLIENTS, 200, concurrency=100),
    client_counts("Instructions of lines as a client, 50 connections, per line", "lines", CLIENTS, 2000),
    client_counts(
        "Instructions of lines as a client, 16 outstanding on each of 50, per line",
        "lines",
        CLIENTS,
        8000,
        depth=16,
    ),
]

# The sequential style beside handlers.
CONVERSATIONS: list[Kind] = [
    *(
        kind
        for depth in (1, 16)
        for kind in (
            Serve(
                title=f"Line echo server, 50 connections, {depth} outstanding on each",
                work="lines",
                depth=depth,
                peers=[*SEQUENTIAL, POST],
                base=OURS.name,
            ),
            lines("Lines as a client", SEQUENTIAL, 100_000 * min(depth, 4), depth, OURS.name),
        )
    ),
    fanout("By fan_out", [peer for peer in SEQUENTIAL if peer is not INLINE], 5000, 100, base=OURS.name),
    held("A waiting conversation, of 5,000", SEQUENTIAL, 5000, OURS.name),
]
CONVERSATIONS_COUNTED: list[Kind] = [
    kind
    for depth in (1, 16)
    for kind in (
        server_counts(
            f"Line echo server, 50 connections, {depth} outstanding on each, each line", "lines",
            [*SEQUENTIAL, POST], OURS.name, depth=depth,
        ),
        client_counts(
            f"Lines as a client, {depth} outstanding on each of 50 connections, each line", "lines",
            SEQUENTIAL, 2_000 * min(depth, 4), OURS.name, depth=depth,
        ),
    )
]  # fmt: skip

SECTIONS: dict[str, list[Kind]] = {
    "conversations": CONVERSATIONS,
    "fanout": [fanout("Client fan-out", CLIENTS, 5000, 100)],
    "tls-fanout": [fanout("TLS fan-out, verified", [*MAIN, TALK, *LOOPS], 300, 50, tls=True)],
    "lines": [lines("Lines as a client", CLIENTS, 100_000)],
    "lines16": [lines("Lines as a client", [*CLIENTS, *BATCHES], 400_000, 16)],
    "bulk": [
        ClientBulk(title=title, work=work, count=GIB, peers=[*MAIN, INTO, *LOOPS])
        for title, work in (("Receive 1 GiB over one connection", "source"), ("Send 1 GiB", "sink"))
    ],
    "memory": [held("A connected idle client socket, of 5,000", [*MAIN, TALK, *LOOPS], 5000)],
    "idle": [Turn(title="A turn beside idle sockets", count=100_000, peers=CROWDS, base=CROWDS[2].name)],
    "calls": [
        client_counts(
            "System calls of a fan-out, per request",
            "fanout",
            CLIENTS,
            500,
            concurrency=100,
            counter=SYSTEM_CALLS,
        ),
        client_counts(
            "System calls of lines as a client, per line", "lines", CLIENTS, 2000, counter=SYSTEM_CALLS
        ),
    ],
    "echo": [echo("TCP echo server, 64 bytes, 50 connections", "echo")],
    "echo500": [echo("TCP echo server, 64 bytes, 500 connections", "echo", 500)],
    "line-echo": [echo("Line echo server, 50 connections", "lines")],
    "line-echo16": [echo("Line echo server, 50 connections, 16 outstanding on each", "lines", depth=16)],
    "tls-echo": [echo("TLS echo server, 64 bytes, 50 connections", "echo", tls=True)],
    "udp-echo": [echo("UDP echo server, 64 bytes, 50 sockets", "udp")],
    "server-memory": [
        ServeMemory(
            title="An idle accepted connection, of 5,000", connections=5000, peers=[*MAIN, *LOOPS, TWISTED]
        )
    ],
    "server-calls": [
        server_counts("System calls of a TCP echo server, per message", "echo", SERVERS, counter=SYSTEM_CALLS)
    ],
    "soak": [
        Soak(
            title="1,000,000 connections and 10,000,000 lines, 50 at a time",
            count=1_000_000,
            peers=[Peer(OURS.name, "soak", flavour=OURS.flavour, needs=OURS.needs)],
            base=OURS.name,
        )
    ],
    "instructions": INSTRUCTIONS_EACH,
    "serve": files.SECTION,
    # Each engine beside a raw loop on what it uses, then the engines beside one another.
    "engines": [
        *(
            fanout(f"Fan-out on {peers[0].name}", list(peers), 5000, 100, base=peers[0].name)
            for peers in FACILITIES
        ),
        *(
            lines(f"Lines on {peers[0].name}", list(peers), 100_000, base=peers[0].name)
            for peers in FACILITIES
        ),
        *(beside_idle(f"A turn on {peers[0].name}", list(peers)) for peers in FACILITIES),
        fanout("Fan-out, by engine", ENGINES, 5000, 100, base=ENGINES[0].name),
        lines("Lines, by engine", ENGINES, 100_000, base=ENGINES[0].name),
        lines("Lines, by engine", ENGINES, 400_000, 16, base=ENGINES[0].name),
    ],
    "executor": [
        Making(
            title="Make and close an executor",
            peers=[replace(peer, client="our_making") for peer in COUNTED],
            base=COUNTED[0].name,
        )
    ],
    # Instructions.
    "counts-polls": [
        Polls(title="A poll with one event, 100 descriptors watched", further=False, peers=POLLED),
        Polls(title="Each further event", further=True, peers=POLLED),
    ],
    "counts-jobs": [
        client_counts("Fan-out, each request", "fanout", COUNTED, 1_000, COUNTED[0].name, concurrency=100),
        client_counts("Lines, each", "lines", COUNTED, 5_000, COUNTED[0].name),
        server_counts("Echo server, each message", "echo", COUNTED, COUNTED[0].name),
    ],
    "counts-conversations": CONVERSATIONS_COUNTED,
    "counts-watching": [
        server_counts("Echo server, each message", "echo", WATCHED, EVENTS.name),
        client_counts("Fan-out, each request", "fanout", WATCHED, 1_000, EVENTS.name, concurrency=100),
    ],
    "gevent": [
        fanout("In a gevent program", [GEVENT, ENGINES[2]], 5000, 1000, base=GEVENT.name),
        lines("In a gevent program", [GEVENT, ENGINES[2]], 100_000, base=GEVENT.name),
        held(
            "In a gevent program, a connected idle socket, of 1,000", [GEVENT, ENGINES[2]], 1000, GEVENT.name
        ),
    ],
}
