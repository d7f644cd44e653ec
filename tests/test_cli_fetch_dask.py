"""`evsockets fetch --dask` on a real cluster. No engine is concerned."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from support.command import run_command, run_here
from support.optional import library

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def no_descriptor_leak() -> None:
    """Not here: Dask opens and closes connections when it likes."""


def test_the_workers_of_a_cluster_ask(tmp_path: Path, unused_port: int) -> None:
    place = tmp_path / "list"
    with (
        library("distributed").LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        socket.create_server(("127.0.0.1", 0), backlog=128) as listener,
    ):
        place.write_text(f"tcp://127.0.0.1:{listener.getsockname()[1]},{unused_port}\n" * 20 + "garbage\n")
        options = ["--dask", cluster.scheduler_address, "--connect-only", "--limit", "1", "--json"]
        done = run_command("fetch", *options, "--from", str(place), PYTHONWARNINGS="default")
    found = json.loads(done.stdout)
    assert (done.returncode, found["succeeded"], found["failed"]) == (1, 20, 21)
    outcomes = [one["outcome"] for one in found["results"]]
    assert outcomes == ["complete", "no connection"] * 20 + ["bad address"]
    assert f"{place}, line 21: " in found["results"][-1]["error"]


def test_what_is_wrong_is_said(unused_port: int) -> None:
    library("distributed")
    done = run_here("fetch", "--dask", "nowhere://x", "tcp://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("evsockets: --dask: ")
    done = run_here("fetch", "--dask", "tcp://127.0.0.1:1", "--timeline", "x.svg", "tcp://127.0.0.1:1")
    assert done.returncode == 2
