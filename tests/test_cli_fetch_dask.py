"""`evsockets fetch --dask` on a real cluster. No engine is concerned."""

from __future__ import annotations

import gc
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evsockets.cli import cluster
from support.command import HANGS, environment, run_command, run_here
from support.optional import library

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def no_descriptor_leak() -> None:
    """Not here: Dask opens and closes connections when it likes."""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster of one worker."""
    with library("distributed").LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        yield sock


def test_the_workers_of_a_cluster_ask(
    scheduler: str, listener: socket.socket, tmp_path: Path, unused_port: int
) -> None:
    place = tmp_path / "list"
    place.write_text(f"tcp://127.0.0.1:{listener.getsockname()[1]},{unused_port}\n" * 20 + "garbage\n")
    options = ["--dask", scheduler, "--connect-only", "--limit", "1", "--json"]
    done = run_command("fetch", *options, "--from", str(place), PYTHONWARNINGS="default")
    found = json.loads(done.stdout)
    assert (done.returncode, found["succeeded"], found["failed"]) == (1, 20, 21)
    outcomes = [one["outcome"] for one in found["results"]]
    assert outcomes == ["complete", "no connection"] * 20 + ["bad address"]
    assert f"{place}, line 21: " in found["results"][-1]["error"]


def test_ctrl_c_tells_of_those_under_way(
    scheduler: str, listener: socket.socket, tmp_path: Path, unused_port: int
) -> None:
    """Tasks are of ten targets, two of them out at a time: what has come is printed at once."""
    place = tmp_path / "list"
    refused, silent = f"tcp://127.0.0.1:{unused_port}\n", f"tcp://127.0.0.1:{listener.getsockname()[1]}\n"
    place.write_text(refused * 10 + silent * 25)
    options = ["--dask", scheduler, "--limit", "1", "--jsonl", "--from", str(place)]
    command = [sys.executable, "-m", "evsockets", "fetch", *options]
    with subprocess.Popen(
        command, env=environment(PYTHONWARNINGS="default"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10)]
        listener.settimeout(HANGS)
        with listener.accept()[0]:
            process.send_signal(signal.SIGINT)
            shown, _ = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + signal.SIGINT
    found = [json.loads(line)["outcome"] for line in (*lines, *shown.splitlines())]
    assert found == ["no connection"] * 10 + ["interrupted"] * 20


def test_what_is_wrong_is_said(unused_port: int) -> None:
    library("distributed")
    done = run_here("fetch", "--dask", "nowhere://x", "tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("evsockets: --dask: no scheduler at nowhere://x: ")
    assert "dask scheduler" in done.stderr and done.stderr.count("\n") == 1
    done = run_here("fetch", "--dask", "tcp://127.0.0.1:1", "--timeline", "x.svg", "tcp://127.0.0.1:1")
    assert done.returncode == 2


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9])
def test_what_is_no_scheduler(
    says: bytes, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who waits is told what for, and an end has one line, without a finalizer's second wait."""
    library("distributed")
    monkeypatch.setattr(cluster, "_PATIENCE", 2)
    monkeypatch.setattr(cluster, "_SILENCE", 0.1)
    address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    def answer() -> None:
        with listener.accept()[0] as peer:
            peer.sendall(says)
            heard.wait(HANGS)

    heard = threading.Event()
    answering = threading.Thread(target=answer)
    answering.start()
    before = time.monotonic()
    with pytest.raises(cluster.CommandError, match=f"no scheduler at {address}: .*; start one with"):
        with cluster.cluster(address):
            pass
    gc.collect()
    assert time.monotonic() - before < 15
    heard.set()
    answering.join()
    shown = capfd.readouterr().err
    assert "Exception ignored" not in shown
    assert says or f"waiting for the scheduler at {address} ..." in shown
