"""The command line beside curl, nmap and httpx: `python -m tests.bench.commands [--rounds N] [--many N]`.

Each command runs to its end, one after the other in each round, against a server on another processor.
Printed are medians of the rounds: seconds by the clock with least and greatest, seconds of processor time,
and the largest resident memory. It needs nginx; peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import NamedTuple

from .peers.files import _NGINX

HOST = "127.0.0.1"
ALL, OPEN = range(20_000, 25_000), range(20_000, 25_000, 50)
AT_ONCE = 300
HTTPX = """
import asyncio, sys, httpx
async def main():
    limits = httpx.Limits(max_connections={at_once}, max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:
        places = asyncio.Semaphore({at_once})
        async def one(url):
            async with places:
                return (await client.get(url)).status_code
        found = await asyncio.gather(*(one(line.strip()) for line in open(sys.argv[1])))
    assert set(found) == {{200}}
asyncio.run(main())
"""


class Sample(NamedTuple):
    """What one run of a command took."""

    seconds: float
    processor: float
    kibibytes: int


def measured(command: list[str]) -> Sample:
    """Run it to its end on the first processor; an exit status other than 0 or 1 is an error."""
    began = time.monotonic()
    process = subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: some of the addresses failed
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return Sample(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The URL of an nginx that closes each connection after its answer."""
    root = folder / "site"
    root.mkdir()
    (root / "index.html").write_bytes(bytes(128))
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    text = _NGINX.format(folder=folder, host=HOST, port=port, root=root)
    config = folder / "nginx.conf"
    text = text.replace("keepalive_requests 1000000000", "keepalive_timeout 0")
    config.write_text(("user root;" if os.geteuid() == 0 else "") + text)  # whose folder it is
    nginx = ["taskset", "-c", "1", "nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)]
    environment = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"}
    with subprocess.Popen(nginx, env=environment) as server:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex((HOST, port)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://{HOST}:{port}/"
        finally:
            server.terminate()


def jobs(folder: Path, url: str, many: int) -> Iterator[tuple[str, str, list[str]]]:
    """Each work, whose command, and the command."""
    python = [sys.executable, "-m", "evsockets"]
    few, lots, config, script = (folder / name for name in ("few", "lots", "curl", "get.py"))
    few.write_text(f"{url}\n" * 5000)
    lots.write_text(f"{url}\n" * many)
    config.write_text(f'url = "{url}"\noutput = "/dev/null"\n' * 5000)
    script.write_text(HTTPX.format(at_once=AT_ONCE))
    fetch = [*python, "fetch", "--limit", str(AT_ONCE), "--no-progress"]
    ports = f"{ALL.start}-{ALL.stop - 1}"

    work = f"{len(ALL):,} ports, {len(OPEN)} of them open"
    scan = [*fetch, "--connect-only", "--only", "complete", f"tcp://{HOST}:{ports}"]
    yield work, "evsockets fetch --connect-only", scan
    yield work, "nmap -sT", ["nmap", "-sT", "-Pn", "-n", "-p", ports, "--open", HOST]
    work = "5,000 GETs, a connection each"
    yield work, "evsockets fetch --jsonl", [*fetch, "--jsonl", "--http", "/", "--from", str(few)]
    parallel = ["curl", "--no-progress-meter", "--parallel", "--parallel-max", str(AT_ONCE)]
    yield work, "curl --parallel", [*parallel, "--config", str(config)]
    yield work, "httpx.AsyncClient", [sys.executable, str(script), str(few)]
    work = f"{many:,} GETs, a connection each"
    yield work, "evsockets fetch --jsonl", [*fetch, "--jsonl", "--http", "/", "--from", str(lots)]
    for name, command in {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import evsockets": [sys.executable, "-c", "import evsockets"],
        "import asyncio": [sys.executable, "-c", "import asyncio"],
        "import httpx": [sys.executable, "-c", "import httpx"],
        "evsockets fetch --help": [*python, "fetch", "--help"],
    }.items():
        yield "start", name, command


def runs_here(command: list[str]) -> bool:
    """Whether what the command needs is installed."""
    asks = "httpx" in command[-1] or command[1].endswith("get.py")
    return shutil.which(command[0]) is not None and (not asks or find_spec("httpx") is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=100_000, help="how many GETs the long run has")
    arguments = parser.parse_args()
    found: dict[tuple[str, str], list[Sample]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for port in OPEN:
            stack.enter_context(socket.create_server((HOST, port), backlog=1024))
        url = stack.enter_context(web_server(folder))
        for _ in range(arguments.rounds):
            for work, name, command in jobs(folder, url, arguments.many):
                if runs_here(command):
                    samples = found.setdefault((work, name), [])
                    for _ in range(10 if work == "start" else 1):
                        samples.append(measured(command))
    print("| work | command | seconds | min - max | processor s | MiB |")
    print("|---|---|---|---|---|---|")
    for (work, name), samples in found.items():
        seconds = [sample.seconds for sample in samples]
        spread = f"{median(seconds):.3f} | {min(seconds):.3f} - {max(seconds):.3f}"
        processor = median(sample.processor for sample in samples)
        memory = max(sample.kibibytes for sample in samples) / 1024
        print(f"| {work} | {name} | {spread} | {processor:.3f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
