"""A global handler that counts connections, failures, time-outs, bytes and durations for Prometheus."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..callbacks import Callback, ResolvableHandler
from ..core.states import Phase, seconds_spent
from ..errors import DisconnectedError, SocketTimeoutError
from ..event_types import EventType, TimeoutStage
from ..events import Event, SocketExceptionEvent, TimeoutEvent
from ..sockets import AcceptedSocket, DatagramClientSocket, Socket
from ..weak import living, remember

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

    from ..core.channel import Channel

_SIDES = ("client", "accepted", "datagram", "server")
_OPENING = ("resolving", "connecting", "handshaking")
# Seconds: of opening, and of a life, which may be a message's or a day's.
_OPENING_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LIFE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400)


class _Metrics:
    """The metrics of one registry: all handlers on it share them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._handlers: set[weakref.ref[PrometheusEventHandler]] = set()
        sockets = Gauge(
            "evsockets_sockets", "Sockets that have started and not ended.", ["side"],
            registry=None, multiprocess_mode="livesum",
        )  # fmt: skip
        connections = Counter(
            "evsockets_connections", "Connections established, and servers that listen.", ["side"],
            registry=None,
        )  # fmt: skip
        lives = Histogram(
            "evsockets_life_seconds", "From INITIALIZE to FINALIZE.", ["side"],
            registry=None, buckets=_LIFE_BUCKETS,
        )  # fmt: skip
        opening = Histogram(
            "evsockets_opening_seconds", "A step on the way to a connection that was established.", ["step"],
            registry=None, buckets=_OPENING_BUCKETS,
        )  # fmt: skip
        timeouts = Counter("evsockets_timeouts", "Time-outs told.", ["stage"], registry=None)
        self.failures = Counter("evsockets_failures", "Errors told.", ["kind"], registry=None)
        self.sent = Counter("evsockets_sent_bytes", "Bytes that the kernel took.", registry=None)
        self.received = Counter("evsockets_received_bytes", "Bytes that arrived.", registry=None)
        settling = _Settling(self._handlers)  # first: it is collected before what it has counted
        counters = (sockets, connections, lives, opening, timeouts, self.failures, self.sent, self.received)
        _register(registry, (settling, *counters))
        # Every series is there from the beginning, at 0, and none is looked up again.
        self.sockets = {side: sockets.labels(side) for side in _SIDES}
        self.connections = {side: connections.labels(side) for side in _SIDES}
        self.lives = {side: lives.labels(side) for side in _SIDES}
        self.opening = {step: opening.labels(step) for step in _OPENING}
        self.timeouts = {stage: timeouts.labels(stage.value) for stage in TimeoutStage}

    def add(self, handler: PrometheusEventHandler) -> None:
        """Its running sockets' bytes are to be counted when the registry is read."""
        remember(self._handlers, handler)


def _register(registry: CollectorRegistry, collectors: Sequence[Collector]) -> None:
    """All or none."""
    for number, collector in enumerate(collectors):
        try:
            registry.register(collector)
        except ValueError:
            for other in collectors[:number]:
                registry.unregister(other)
            raise


_KNOWN: weakref.WeakKeyDictionary[CollectorRegistry, _Metrics] = weakref.WeakKeyDictionary()


class _Settling:
    """A collector of nothing: it has the bytes of running sockets counted when the registry is read."""

    def __init__(self, handlers: set[weakref.ref[PrometheusEventHandler]]) -> None:
        self._handlers = handlers

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for handler in living(self._handlers):
            handler._settle()
        return iter(())


class _Life:
    """What is known of one socket's life, and how many of its bytes have been counted."""

    __slots__ = ("attempted_at", "began", "channel", "connected", "received", "sent", "side")

    def __init__(self, channel: Channel, side: str) -> None:
        self.channel = channel
        self.side = side
        self.connected = False
        self.began = self.attempted_at = channel.loop.clock()
        self.sent = self.received = 0


class PrometheusEventHandler(ResolvableHandler):
    """Metrics of prometheus_client about sockets: add it by `RequestExecutor.with_event_handler`. One object
    may serve several executors; several on one registry share the metrics.

    `registry`: a `prometheus_client.CollectorRegistry`; None: its default one. The handler only observes
    (`watches`), gets no event of single messages, and counts sockets that start after it was added. No label
    holds an address, so that the number of series does not grow with the peers. ImportError without
    prometheus_client (`pip install "evsockets[metrics]"`); ValueError if the registry has other metrics of
    these names.
    """

    __slots__ = ("_lives", "_lock", "_metrics", "_sweep_at")

    watches = True

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__()
        try:
            from prometheus_client import REGISTRY
        except ImportError as error:
            raise ImportError(
                'PrometheusEventHandler needs prometheus_client: pip install "evsockets[metrics]"'
            ) from error
        registry = REGISTRY if registry is None else registry
        if not hasattr(registry, "register"):
            raise TypeError(
                f"registry must be a prometheus_client.CollectorRegistry or None, got {registry!r}"
            )
        metrics = _KNOWN.get(registry)
        if metrics is None:
            metrics = _KNOWN[registry] = _Metrics(registry)
        self._metrics = metrics
        self._lives: dict[int, _Life] = {}  # by the channel's identity
        self._sweep_at = 64
        from threading import RLock

        self._lock = RLock()  # the registry is read in other threads; within a signal handler in this one
        metrics.add(self)

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        heard: dict[EventType, Callback] = {
            EventType.INITIALIZE: self._on_initialize,
            EventType.CONNECTED: self._on_connected,
            EventType.TIMEOUT: self._on_timeout,
            EventType.EXCEPTION: self._on_exception,
            EventType.FINALIZE: self._on_finalize,
        }
        return [heard[type]] if type in heard else []

    def _on_initialize(self, event: Event) -> None:
        channel = event._channel
        life = self._lives.get(id(channel))
        if life is not None:  # another attempt
            life.attempted_at = channel.loop.clock()
            return
        if len(self._lives) >= self._sweep_at:
            self._settle()
            self._sweep_at = max(64, 2 * len(self._lives))
        life = self._lives[id(channel)] = _Life(channel, _side(channel.socket))
        self._metrics.sockets[life.side].inc()

    def _on_connected(self, event: Event) -> None:
        channel = event._channel
        life = self._lives.get(id(channel))
        if life is None or life.connected:
            return
        life.connected = True
        self._metrics.connections[life.side].inc()
        began = life.attempted_at if life.side == "client" else None
        for name, seconds in seconds_spent(channel.steps, began, channel.loop.clock()).items():
            self._metrics.opening[name].observe(seconds)

    def _on_timeout(self, event: TimeoutEvent) -> None:
        self._metrics.timeouts[event.when].inc()

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        error = event.exception
        if isinstance(error, DisconnectedError) and error.clean:
            return  # a goodbye is no failure
        if isinstance(error, SocketTimeoutError):  # of a scope of a conversation
            self._metrics.timeouts[error.when].inc()
        else:
            self._metrics.failures.labels(_kind(error)).inc()

    def _on_finalize(self, event: Event) -> None:
        self._end(event._channel)

    def _end(self, channel: Channel) -> None:
        with self._lock:
            life = self._lives.pop(id(channel), None)
            if life is not None:
                self._count_bytes(life)
        if life is not None:
            self._metrics.sockets[life.side].dec()
            self._metrics.lives[life.side].observe(max(0.0, channel.loop.clock() - life.began))

    def _settle(self) -> None:
        """Count the bytes moved since the last time, of everything that runs; and end the lives that are over
        though no FINALIZE came here: a handler before raised."""
        with self._lock:
            for life in list(self._lives.values()):
                if life.channel.phase is Phase.COMPLETE:
                    self._end(life.channel)
                else:
                    self._count_bytes(life)

    def _count_bytes(self, life: _Life) -> None:
        sent, received = life.channel.bytes_sent, life.channel.bytes_received
        # Noted first: a signal handler that reads the registry counts none of them twice.
        more_sent, more_received = sent - life.sent, received - life.received
        life.sent, life.received = sent, received
        self._metrics.sent.inc(more_sent)
        self._metrics.received.inc(more_received)


def _side(socket: Socket) -> str:
    if socket.is_server:
        return "server"
    if isinstance(socket, DatagramClientSocket):
        return "datagram"
    return "accepted" if isinstance(socket, AcceptedSocket) else "client"


def _kind(error: BaseException) -> str:
    """The class of this library's that `error` is of: users' own are as many as they like."""
    ours = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return next(ours, "other")


