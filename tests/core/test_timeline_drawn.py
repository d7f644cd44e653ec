"""What a `Timeline` draws is well-formed whatever peers and users are called."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import tracemalloc
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    NetworkSocketError,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    Timeline,
    WriteOperation,
    explain,
)
from support.certificates import Authority, server_side
from support.conversation import Talk, sends
from support.wire import add, pair, peer, quietly, read_exactly, tls_script

FOUR = ReadOperation(FixedLengthFramePicker(4))
ASK = WriteOperation(b"ask\n", then=FOUR)
SVG = "{http://www.w3.org/2000/svg}"


def picture(timeline: Timeline, folder: Path) -> xml.etree.ElementTree.Element:
    timeline.svg(folder / "timeline.svg")
    return xml.etree.ElementTree.parse(folder / "timeline.svg").getroot()


def texts(root: xml.etree.ElementTree.Element) -> str:
    return "\n".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))


def classes(root: xml.etree.ElementTree.Element) -> list[str]:
    return [rect.get("class", "") for group in root.iter(f"{SVG}g") for rect in group.iter(f"{SVG}rect")]


def whole_run(root: xml.etree.ElementTree.Element) -> float:
    """Seconds, by the title."""
    number, unit = texts(root).splitlines()[0].partition(" in ")[2].split()
    return float(number) * {"ms": 0.001, "s": 1.0}[unit]


def events(timeline: Timeline, folder: Path) -> list[dict[str, Any]]:
    """Those of the trace, each as the format has it."""
    timeline.trace(folder / "trace.json")
    document = json.loads((folder / "trace.json").read_text())
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
    for event in document["traceEvents"]:
        wanted = {"M": {"args"}, "X": {"ts", "dur", "cat", "tid"}, "i": {"ts", "s", "tid"}}[event["ph"]]
        assert wanted | {"name", "pid"} <= set(event)
        assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0
    return list(document["traceEvents"])


def test_every_outcome_has_its_look(ca: Authority, tmp_path: Path, unused_port: int) -> None:
    def resolves(host: str, port: int, *_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    timeline = Timeline()
    silent, theirs = pair()
    greeting = tls_script(server_side(ca), lambda sock: (read_exactly(sock, 4), sock.sendall(b"four")))
    with (
        theirs,
        peer(quietly(greeting)) as server,
        RequestExecutor("selectors", resolver=resolves) as executor,
    ):
        executor.with_event_handler(timeline)
        add(executor, server.url("tls", "localhost"), ASK, stream_context={"ca_file": ca.ca_file})
        add(executor, None, ASK, socket=silent, io_timeout=0.2)
        add(executor, f"tcp://127.0.0.1:{unused_port}", ASK)
        executor.execute_request()
    root = picture(timeline, tmp_path)
    said = texts(root)
    assert "3 sockets in" in said
    for line in ("complete", "timed out while reading", "ConnectionFailedError while connecting"):
        assert line in said
    assert {"one after another", "at once", "waiting for the first byte", "until the time-out"} <= set(
        said.splitlines()
    )
    # Each one's own look: a hatched time-out, a cross, and the phases in the order of a life.
    assert classes(root).count("late") == 1
    whole = [name for name in classes(root) if name != "late"]
    assert whole.index("resolving") < whole.index("handshaking") < whole.index("awaiting")
    marks = [path for path in root.iter(f"{SVG}path") if path.get("class") == "mark"]
    assert len(marks) == 3  # the time-out's, the failure's, and the legend's
    ends = {event["name"] for event in events(timeline, tmp_path) if event["ph"] == "i"}
    assert ends == {"complete", "timed out while reading", "ConnectionFailedError while connecting"}
    slices = [event for event in events(timeline, tmp_path) if event["ph"] == "X"]
    *_, waiting = [event for event in slices if event["args"]["outcome"].startswith("timed out")]
    assert waiting["name"] == "awaiting"
    assert waiting["dur"] >= 0.2e6


def test_both_ends_of_the_axis_have_their_times(talk: Talk, tmp_path: Path) -> None:
    timeline = Timeline()
    talk.executor.with_event_handler(timeline)
    talk(ASK, told=["WRITE", "TIMEOUT IO reading"], sent=b"ask\n", io_timeout=0.25)
    said = texts(picture(timeline, tmp_path)).splitlines()
    whole = said[0].partition(" in ")[2]
    assert said.count("0") == 2  # above and below
    assert said.count(whole) >= 2


def test_a_picture_for_light_and_for_dark(tmp_path: Path) -> None:
    style = "".join(picture(Timeline(), tmp_path).itertext())
    assert "prefers-color-scheme:dark" in style
    assert "0 sockets" in style


NAMES = [
    '/tmp/<&">\'',
    "/tmp/\x01\x1b[2J\n\r\t",
    "/tmp/]]></svg><script>alert(1)</script>",
    "/tmp/" + "x" * 100,
    "/tmp/\udcff\u202e\u00e9",
]


@pytest.mark.parametrize("path", NAMES)
def test_a_hostile_address(executor: RequestExecutor, tmp_path: Path, path: str) -> None:
    timeline = Timeline()
    executor.with_event_handler(timeline)
    add(executor, f"unix://{path}", ASK)
    executor.execute_request()
    root = picture(timeline, tmp_path)
    assert not list(root.iter(f"{SVG}script"))
    assert any("unix:///tmp/" in (title.text or "") for title in root.iter(f"{SVG}title"))
    named = [event for event in events(timeline, tmp_path) if event["name"] == "thread_name"]
    assert named[0]["args"]["name"].isprintable()


def test_a_hostile_error(talk: Talk, tmp_path: Path) -> None:
    class Odd(NetworkSocketError):
        pass

    def fails(event: Any) -> None:
        raise Odd("<script>\x00</script>")

    Odd.__name__ = "<b>&\x02"
    timeline = Timeline()
    talk.executor.with_event_handler(timeline)
    talk(NullOperation(), told=[Odd], on={"CONNECTED": fails})
    assert "<b>&\\x02" in texts(picture(timeline, tmp_path))
    events(timeline, tmp_path)


@pytest.mark.parametrize("way", ["svg", "trace"])
def test_where_nothing_can_be_written(tmp_path: Path, way: str) -> None:
    timeline = Timeline()
    with pytest.raises(FileNotFoundError, match="no-such-place"):
        getattr(timeline, way)(tmp_path / "no-such-place" / "file")
    with pytest.raises(IsADirectoryError):
        getattr(timeline, way)(os.fspath(tmp_path))
    with pytest.raises(TypeError):
        getattr(timeline, way)(1)


def test_many_sockets_are_bounded(executor: RequestExecutor, tmp_path: Path) -> None:
    few, all_, none = Timeline(most=100), Timeline(), Timeline(most=0)
    executor.with_event_handler(none)
    executor.with_event_handler(few)
    executor.with_event_handler(all_)
    for _ in range(20):
        for _ in range(100):
            executor.socket_bag.add_socket(
                ClientSocket(), NullOperation(), address="unix:///no/such/place", handler=lambda event: None
            )
        executor.execute_request()
    root = picture(few, tmp_path)
    assert "2000 sockets in" in texts(root)
    assert "2000 of 2000, 100 drawn, of 100: median" in texts(root)
    # The sum of all lives stands against the time of all, those that are not drawn included.
    assert whole_run(root) == pytest.approx(whole_run(picture(all_, tmp_path)), rel=0.2)
    assert len(list(root.iter(f"{SVG}g"))) == 100
    whole = picture(all_, tmp_path)
    assert len(list(whole.iter(f"{SVG}g"))) <= 600
    assert "2000 of 2000, 500 drawn: median" in texts(whole)
    assert "2000 sockets in" in texts(picture(none, tmp_path))
    few.trace(tmp_path / "trace.json")
    left = json.loads((tmp_path / "trace.json").read_text())["otherData"]["left_out"]
    assert [one["sockets"] for one in left.values()] == [1900]


def test_a_server_is_kept_for_its_clients(executor: RequestExecutor) -> None:
    timeline, none = Timeline(most=3), Timeline(most=0)
    executor.with_event_handler(timeline)
    executor.with_event_handler(none)
    server = ServerSocket()
    ended: list[object] = []

    def listening(event: Any) -> None:
        for _ in range(5):
            address = "tcp://{}:{}".format(*event.metadata.local_address)
            executor.socket_bag.add_socket(
                ClientSocket(), NullOperation(), address=address, on_finalize=finalized
            )

    def finalized(event: Any) -> None:
        ended.append(event)
        if len(ended) == 5:
            server.close()

    executor.socket_bag.add_socket(
        server, ReadOperation(), address="tcp://127.0.0.1:0", on_connected=listening,
        on_accept=lambda event: event.client_socket.close(),
    )  # fmt: skip
    executor.execute_request()
    kept = timeline._records()
    assert len(kept) == 3 and sum(record.is_server for record in kept) == 1
    assert sum(number for number, _ in timeline._left_out.outcomes.values()) == 3 and not none._records()


def test_memory_of_those_left_out(executor: RequestExecutor) -> None:
    timeline = Timeline(most=10)
    executor.with_event_handler(timeline)

    def lives(number: int) -> None:
        for _ in range(number):
            client = ClientSocket()
            executor.socket_bag.add_socket(
                client, NullOperation(), address="unix:///no/such/place", handler=lambda event: None
            )
            executor.execute_request()
            executor.socket_bag.remove_socket(client)

    lives(50)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        lives(500)
        assert tracemalloc.get_traced_memory()[0] - before < 30_000
    finally:
        tracemalloc.stop()


def test_a_bug_before_it_keeps_nothing_back(executor: RequestExecutor) -> None:
    def fails(event: Any) -> None:
        raise ZeroDivisionError

    timeline = Timeline()
    executor.with_event_handler(timeline)
    for _ in range(200):
        handler = {EventType.EXCEPTION: str, EventType.FINALIZE: fails}
        executor.socket_bag.add_socket(ClientSocket(), NullOperation(), handler=handler)
        with pytest.raises(ZeroDivisionError):
            executor.execute_request()
    assert len(timeline._running) <= 64
    assert len(timeline._records()) == 200
    assert not timeline._running


def test_it_does_not_count_as_hearing(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    executor.with_event_handler(Timeline())
    with caplog.at_level(logging.WARNING, "evsockets"):
        executor.socket_bag.add_socket(ClientSocket(), NullOperation())
        executor.execute_request()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_as_a_sockets_own_handler(talk: Talk) -> None:
    timeline = Timeline()
    talk.begin(FOUR, sends(b"four"), handler={kind: [timeline] for kind in EventType})
    talk.run()
    assert [record.outcome for record in timeline._records()] == ["complete"]


@pytest.fixture
def real() -> Iterator[RequestExecutor]:
    """On real time."""
    with RequestExecutor("selectors") as executor:
        yield executor


def test_a_look_from_another_thread(real: RequestExecutor, tmp_path: Path) -> None:
    """`explain` and pictures while sockets come, talk and go."""
    timeline = Timeline()
    real.with_event_handler(timeline)
    errors: list[BaseException] = []
    over = threading.Event()

    def looks() -> None:
        try:
            while not over.is_set():
                explain(real)
                timeline.svg(tmp_path / "timeline.svg")
        except BaseException as error:
            errors.append(error)

    def accepted(event: Any) -> None:
        handler = {EventType.READ: lambda event: event.next_is_write(event.frame.data, FOUR)}
        real.socket_bag.add_socket(event.client_socket, FOUR, handler=handler)

    def begins(address: str) -> None:
        handler = {EventType.READ: talks, EventType.FINALIZE: ends}
        real.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"four", then=FOUR), address=address, handler=handler
        )

    def talks(event: Any) -> None:
        told.append("READ")
        if len(told) % 3:
            event.next_is_write(b"more", FOUR)

    def ends(event: Any) -> None:
        real.socket_bag.remove_socket(event.socket)
        if len(told) < 900:
            begins(event.metadata.address)
        else:
            real.stop_request()

    def listens(event: Any) -> None:
        for _ in range(10):
            begins("tcp://127.0.0.1:%d" % event.metadata.local_address[1])

    told: list[str] = []
    thread = threading.Thread(target=looks)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        real.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address="tcp://127.0.0.1:0",
            handler={EventType.CONNECTED: listens, EventType.ACCEPT: accepted, EventType.EXCEPTION: str},
        )
        real.execute_request()
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert not errors
    assert len(told) >= 900


def test_nothing_of_a_picture_is_imported_before_it_is_drawn() -> None:
    from support.command import run_python

    code = "import sys, evsockets; print('evsockets.watching.timeline_picture' in sys.modules)"
    assert run_python(code).stdout == "False\n", sys.version
