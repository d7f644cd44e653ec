"""What every program under test shares: its command line, its clock and its one line of output."""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REQUEST = b"GET /status HTTP/1.1\r\nHost: bench\r\n\r\n"
REPLY_SIZE = 200
LINE = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-\n"
CHUNK = bytes(65536)
HOST = "127.0.0.1"
NAME = "localhost"  # what the certificate says
RECEIVE = 65536
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one program: what to do, how often, against what."""

    work: str
    flavour: str
    port: int
    count: int
    concurrency: int
    depth: int
    events: bool
    ca: str | None
    certificate: str | None
    key: str | None

    def client_context(self) -> ssl.SSLContext | None:
        """A context that verifies the benchmark's certificate, or None without TLS."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    def server_context(self) -> ssl.SSLContext | None:
        """A context with the benchmark's certificate, or None without TLS."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def parse_job() -> Job:
    """The job on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--flavour", default="")
    for name, default in (("port", 0), ("count", 1000), ("concurrency", 50), ("depth", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--events", action="store_true")
    for name in ("ca", "certificate", "key"):
        parser.add_argument(f"--{name}")
    return Job(**vars(parser.parse_args()))


def resident() -> int:
    """Bytes of memory this process holds now, rubbish collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def announce(port: int) -> None:
    """Tell the runner where this server listens and which process it is."""
    print(port, os.getpid(), flush=True)


def report(**values: float) -> None:
    """The result, for the runner."""
    print(json.dumps(values), flush=True)


class Stopwatch:
    """Wall and processor time since it was made."""

    def __init__(self) -> None:
        self.usage = resource.getrusage(resource.RUSAGE_SELF)
        self.start = time.perf_counter()

    def report(self, count: int) -> None:
        """Print what passed while `count` things were done."""
        seconds = time.perf_counter() - self.start
        usage = resource.getrusage(resource.RUSAGE_SELF)
        user = usage.ru_utime - self.usage.ru_utime
        system = usage.ru_stime - self.usage.ru_stime
        report(count=count, seconds=seconds, cpu=user + system, user=user)


Finish = Callable[[], None]
Fanout = Callable[[Job, int], int]
Lines = Callable[[Job, int, int, Finish], int]
Bulk = Callable[[Job], int]


def nothing() -> None:
    """What to do at the end when nobody asked for anything."""


def run_client(
    job: Job, fanout: Fanout, lines: Lines, source: Bulk | None = None, sink: Bulk | None = None
) -> None:
    """Run one client job with these implementations, after a short warm-up, and report it.

    `fanout(job, count)` makes `count` short requests; `lines(job, count, connections, finish)` exchanges
    `count` lines and calls `finish` with all connections still open; `source` and `sink` move
    `job.count` bytes. Each returns how much it did.
    """
    if job.work == "fanout":
        fanout(job, min(100, job.count))
        watch = Stopwatch()
        watch.report(fanout(job, job.count))
    elif job.work == "lines":
        lines(job, job.concurrency * 10, job.concurrency, nothing)
        watch = Stopwatch()
        watch.report(lines(job, job.count, job.concurrency, nothing))
    elif job.work == "hold":
        lines(job, 20, 20, nothing)
        before, after = resident(), []
        lines(job, job.count, job.count, lambda: after.append(resident()))
        report(count=job.count, bytes=(after[0] - before) / job.count)
    else:
        move = {"source": source, "sink": sink}[job.work]
        if move is None:
            raise SystemExit(f"{job.work} is not done by this program")
        watch = Stopwatch()
        watch.report(move(job))
