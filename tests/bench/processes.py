"""What a fan-out costs past one process: `python -m tests.bench.processes [--targets N] [--many N]`.

Printed is processor time, of this process (which holds Dask's scheduler) and of the workers apart: on a
machine that does other work too, seconds by the clock say little. Two cores that do nothing else need at
least half of the sum, and at least what the busiest process takes. It needs `pip install "evsockets[dask]"`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from distributed import Client, LocalCluster

from evsockets import Outcome, distributed, fan_out

WORK = 0.005
"""Seconds of Python a target."""


def accept(listener: socket.socket) -> None:
    """Be connected with."""
    while True:
        listener.accept()[0].close()


@contextmanager
def peer() -> Iterator[str]:
    """The address of one who accepts and closes, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        process = multiprocessing.get_context("fork").Process(target=accept, args=(listener,), daemon=True)
        process.start()
        yield "tcp://%s:%d" % listener.getsockname()
        process.kill()
        process.join()


async def works(talk: Any, seconds: float) -> tuple[int, float]:
    """Python for so long; this process, and the seconds that it has taken so far."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(200))
    return os.getpid(), time.process_time()


def used() -> float:
    return time.process_time()


def spent(outcomes: Iterable[Outcome[tuple[int, float]]]) -> tuple[float, float, dict[int, float], int]:
    """Seconds by the clock, seconds of this process, those of each other between its first and last outcome,
    and how many outcomes there were."""
    here, began, clock, count = os.getpid(), used(), time.monotonic(), 0
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for outcome in outcomes:
        count += 1
        if outcome.error is None:
            pid, seconds = outcome.value
            first.setdefault(pid, seconds)
            last[pid] = max(seconds, last.get(pid, 0.0))
    others = {pid: last[pid] - first[pid] for pid in first if pid != here}
    return time.monotonic() - clock, used() - began, others, count


def report(
    use: str,
    way: Iterable[Outcome[tuple[int, float]]],
    alone: float = 0.0,
    idle: Sequence[float] = (0.0, 0.0),
) -> float:
    """One line about a way to do it, beside the seconds of one process; return those of this one. `idle` is
    what this process and each other take a second when there is nothing to do."""
    clock, mine, others, _ = spent(way)
    mine -= clock * idle[0]
    # The first target of each worker is not in its difference.
    taken = [seconds + WORK - clock * idle[1] for seconds in others.values()]
    best = (alone or mine) / max((mine + sum(taken)) / 2 if taken else mine, mine, *taken)
    each = ", ".join(f"{seconds:.2f}" for seconds in taken) or "-"
    print(f"  {use}: {mine:.2f}; {each}; {clock:.1f} by the clock; {best:.2f} times one process", flush=True)
    return mine


def idle_cost(client: Client, seconds: float = 5.0) -> tuple[float, float]:
    """Processor seconds a second of a cluster that has nothing to do: of this process, and of a worker."""
    began, here = time.monotonic(), used()
    before = client.run(time.process_time)
    time.sleep(seconds)
    after = client.run(time.process_time)
    took = time.monotonic() - began
    workers = [(after[each] - before[each]) / took for each in before]
    idle = (used() - here) / took, sum(workers) / len(workers)
    print(f"  idle, a second: {idle[0] * 1e3:.0f} ms here, {idle[1] * 1e3:.0f} in a worker; taken off below")
    return idle


def shard_cost(client: Client, idle: Sequence[float] = (0.0, 0.0)) -> None:
    """What a shard costs besides its targets, and a target besides its talk."""
    for size, shards in ((1, 300), (1000, 20)):
        targets = repeat("no address", size * shards)
        limit = max(1, size // 10)
        clock, mine, _, count = spent(
            distributed.fan_out(client, works, targets, shard=size, limit=limit, args=(0.0,))
        )
        mine -= clock * idle[0]
        each = f"{mine / shards * 1e3:.2f} ms a shard here, {mine / count * 1e6:.0f} us a target"
        print(f"{shards} shards of {size}: {each}")


def memory(client: Client, targets: int) -> None:
    """Memory of this process, scheduler included, while so many targets go by."""
    page = resource.getpagesize()

    def resident() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * page / 2**20

    print(f"{targets:,} targets in shards of 1,000: MiB resident here, client and scheduler")
    outcomes = distributed.fan_out(client, works, repeat("no address", targets), args=(0.0,))
    for number, _ in enumerate(outcomes):
        if number % (targets // 10) == 0:
            print(f"  after {number:,}: {resident():.1f}", flush=True)
    print(f"  after all: {resident():.1f}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", type=int, default=2000)
    parser.add_argument("--many", type=int, default=3_000_000)
    asked = parser.parse_args()
    settings: Any = {"args": (WORK,), "limit": 10, "engine": "selectors"}
    print(f"{asked.targets} targets of {WORK * 1000:.0f} ms of Python, processor seconds: here; each worker")
    with peer() as address:
        given = [address] * asked.targets
        alone = report("one process", fan_out(works, given, **settings))
        report("processes=2", fan_out(works, given, processes=2, **settings), alone)
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
            ) as cluster,  # type: ignore[no-untyped-call]
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            idle = idle_cost(client)
            tasks = distributed.fan_out(client, works, given, shard=100, **settings)
            report("Dask, two workers", tasks, alone, idle)
            shard_cost(client, idle)
            memory(client, asked.many)


if __name__ == "__main__":
    main()
