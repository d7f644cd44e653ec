"""`PrometheusEventHandler`: what is counted, read as Prometheus reads it."""

from __future__ import annotations

import logging
import socket
from contextlib import closing
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Configuration,
    EventType,
    FixedLengthFramePicker,
    NetworkSocketError,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.command import run_python
from support.conversation import Talk, sends
from support.memory import MemoryEngine
from support.optional import library
from support.stage import unanswered
from support.wire import add, pair, peer, quietly, read_to_end, tls_script

prometheus_client = library("prometheus_client")
from evsockets import PrometheusEventHandler  # noqa: E402

FOUR = ReadOperation(FixedLengthFramePicker(4))
ASK = WriteOperation(b"ask\n", then=FOUR)


class Read:
    """A registry, and what is read of it."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()

    def __call__(self, name: str, **labels: str) -> float:
        for metric in self.registry.collect():
            for sample in metric.samples:
                if sample.name == f"evsockets_{name}" and sample.labels == labels:
                    return float(sample.value)
        raise KeyError(name, labels)

    def labels(self) -> set[tuple[str, str]]:
        samples = [sample for metric in self.registry.collect() for sample in metric.samples]
        return {pair for sample in samples for pair in sample.labels.items() if pair[0] != "le"}


@pytest.fixture
def read() -> Read:
    return Read()


@pytest.fixture
def counted(executor: RequestExecutor, read: Read) -> RequestExecutor:
    executor.with_event_handler(PrometheusEventHandler(read.registry))
    return executor


def test_a_server_and_its_clients(counted: RequestExecutor, read: Read) -> None:
    def accepted(event: Any) -> None:
        counted.socket_bag.add_socket(
            event.client_socket, FOUR, handler={EventType.READ: lambda e: e.next_is_write(b"answer")}
        )

    def listens(event: Any) -> None:
        address = "tcp://127.0.0.1:%d" % event.metadata.local_address[1]
        for _ in range(3):
            add(counted, address, WriteOperation(b"ask\n", then=ReadOperation(FixedLengthFramePicker(6))))

    def leaves(event: Any) -> None:
        left.append(event)
        if len(left) == 6:
            during.append(read("sockets", side="server"))
            counted.stop_request()

    left: list[Any] = []
    during: list[float] = []
    counted.with_event_handler({EventType.DISCONNECTED: leaves})
    counted.socket_bag.add_socket(
        ServerSocket(),
        ReadOperation(),
        address="tcp://127.0.0.1:0",
        handler={EventType.ACCEPT: accepted, EventType.CONNECTED: listens},
    )
    counted.execute_request()
    sides = ("client", "accepted", "server", "datagram")
    assert [read("connections_total", side=side) for side in sides] == [3, 3, 1, 0]
    assert [read("life_seconds_count", side=side) for side in sides] == [3, 3, 1, 0]
    assert [read("sockets", side=side) for side in sides] == [0, 0, 0, 0]
    assert during == [1]
    assert read("sent_bytes_total") == read("received_bytes_total") == 3 * (4 + 6)
    assert read("opening_seconds_count", step="connecting") == 3
    assert read("opening_seconds_count", step="resolving") == 0


def test_bytes_are_counted_while_a_socket_runs(talk: Talk, read: Read) -> None:
    seen: list[tuple[float, float]] = []

    def look(event: Any) -> None:
        seen.append((read("sent_bytes_total"), read("received_bytes_total")))
        seen.append((read("sent_bytes_total"), read("received_bytes_total")))

    talk.executor.with_event_handler(PrometheusEventHandler(read.registry))
    talk(ASK, sends(b"four"), told=["WRITE", b"four"], sent=b"ask\n", on={"READ": look})
    assert seen == [(4, 4), (4, 4)]
    assert (read("sent_bytes_total"), read("received_bytes_total")) == (4, 4)


def test_steps_of_opening(ca: Authority, read: Read) -> None:
    def resolves(host: str, port: int, *_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    with (
        peer(quietly(tls_script(server_side(ca), read_to_end))) as server,
        RequestExecutor("selectors", resolver=resolves) as executor,
    ):
        executor.with_event_handler(PrometheusEventHandler(read.registry))
        trust = {"ca_file": ca.ca_file}
        add(executor, server.url("tls", "localhost"), NullOperation(), stream_context=trust)
        executor.execute_request()
    steps = ("resolving", "connecting", "handshaking")
    assert [read("opening_seconds_count", step=step) for step in steps] == [1, 1, 1]
    assert read("opening_seconds_sum", step="handshaking") > 0


def test_time_outs_by_stage(talk: Talk, read: Read) -> None:
    talk.executor.with_event_handler(PrometheusEventHandler(read.registry))
    talk.begin(FOUR, io_timeout=2)
    talk.begin(FOUR, request_timeout=2)
    talk.begin(NullOperation(), keep_alive=True, idle_timeout=2)
    talk.run()
    stages = ("io", "request", "idle", "connection")
    assert [read("timeouts_total", stage=stage) for stage in stages] == [1, 1, 1, 0]


class Mine(NetworkSocketError):
    """A user's own."""


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(Mine("x"), "NetworkSocketError"), (ZeroDivisionError("a bug"), "HandlerError")],
)
def test_failures_of_handlers(read: Read, raised: Exception, kind: str) -> None:
    def fails(event: Any) -> None:
        raise raised

    client, theirs = pair()
    configuration = Configuration(isolate_handler_errors=True)
    with theirs, RequestExecutor("selectors", configuration=configuration) as executor:
        executor.with_event_handler(PrometheusEventHandler(read.registry))
        add(executor, None, NullOperation(), socket=client, on={"CONNECTED": fails})
        executor.execute_request()
    assert read("failures_total", kind=kind) == 1


def test_failures_of_peers(counted: RequestExecutor, read: Read, unused_port: int) -> None:
    add(counted, f"tcp://127.0.0.1:{unused_port}", ASK)
    for data in (b"fo", b""):
        client, theirs = pair()
        theirs.sendall(data)
        theirs.close()
        add(counted, None, FOUR, socket=client)
    counted.execute_request()
    found = {value for name, value in read.labels() if name == "kind"}
    assert found == {"ConnectionFailedError", "FrameError"}  # a clean goodbye is none


def test_no_label_holds_an_address(counted: RequestExecutor, read: Read) -> None:
    for path in ('/tmp/"quoted"\n', "/tmp/<&>", "/no/such/place"):
        add(counted, f"unix://{path}", ASK)
    counted.execute_request()
    assert {name for name, _ in read.labels()} == {"side", "step", "stage", "kind"}
    assert not [value for _, value in read.labels() if "/" in value]
    text = prometheus_client.generate_latest(read.registry).decode()
    assert 'evsockets_failures_total{kind="ConnectionFailedError"} 3.0' in text


def test_two_handlers_on_one_registry(read: Read) -> None:
    for _ in range(2):
        with RequestExecutor(MemoryEngine()) as executor, closing(Talk(executor)) as talk:
            executor.with_event_handler(PrometheusEventHandler(read.registry))
            talk(WriteOperation(b"four"), told=["WRITE"], sent=b"four")
    assert read("connections_total", side="client") == 2
    assert read("sent_bytes_total") == 8


def test_the_default_registry_is_prometheus_clients(talk: Talk) -> None:
    def connections() -> float:
        return registry.get_sample_value("evsockets_connections_total", {"side": "client"}) or 0.0

    registry = prometheus_client.REGISTRY
    before = connections()
    talk.executor.with_event_handler(PrometheusEventHandler())
    talk(NullOperation())
    assert connections() == before + 1


def test_an_attempt_after_another_is_one_life(counted: RequestExecutor, read: Read, unused_port: int) -> None:
    def moves(event: Any) -> None:
        event.metadata.address = f"tcp://127.0.0.1:{unused_port}"
        event.enable_one_more_attempt()

    with unanswered() as address:
        add(counted, address, ASK, connection_timeout=0.05, on={"TIMEOUT": moves})
        counted.execute_request()
    assert read("life_seconds_count", side="client") == 1
    assert read("sockets", side="client") == 0


def test_a_bug_before_it_keeps_nothing_back(counted: RequestExecutor, read: Read) -> None:
    def fails(event: Any) -> None:
        raise ZeroDivisionError

    handler = {EventType.EXCEPTION: str, EventType.FINALIZE: fails}
    for _ in range(100):
        counted.socket_bag.add_socket(
            ClientSocket(), NullOperation(), address="unix:///no/such/place", handler=handler
        )
        with pytest.raises(ZeroDivisionError):
            counted.execute_request()
    read("sockets", side="client")
    assert read("sockets", side="client") == 0
    assert read("life_seconds_count", side="client") == 100


def test_it_does_not_count_as_hearing(counted: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "evsockets"):
        counted.socket_bag.add_socket(ClientSocket(), NullOperation(), address="unix:///no/such/place")
        counted.execute_request()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_is_no_registry() -> None:
    with pytest.raises(TypeError, match="CollectorRegistry"):
        PrometheusEventHandler("registry")  # type: ignore[arg-type]


def test_names_that_are_taken(read: Read) -> None:
    other = prometheus_client.Counter("evsockets_failures", "Somebody else's.", registry=read.registry)
    for _ in range(2):
        with pytest.raises(ValueError, match="evsockets_failures"):
            PrometheusEventHandler(read.registry)
    read.registry.unregister(other)
    PrometheusEventHandler(read.registry)  # nothing was left behind


def test_without_prometheus_client_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["prometheus_client"] = None
import evsockets
try:
    evsockets.PrometheusEventHandler()
except ImportError as error:
    print(error)
"""
    assert "evsockets[metrics]" in run_python(code).stdout
