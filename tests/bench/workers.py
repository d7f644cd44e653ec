"""Servers with one worker and with two, under wrk: `python -m tests.bench.workers [--seconds N]`.

Nothing is pinned: workers and load share the processors; two workers have at most what the load leaves.
Printed are requests a second, the median of the rounds with its least and greatest, and the processor time of
a server and its workers for each request. It needs wrk, nginx, and `pip install uvicorn starlette`.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from .files import _COUNT, _SECONDS
from .peers.files import _NGINX

HOST = "127.0.0.1"
APPLICATION = """
from starlette.staticfiles import StaticFiles
application = StaticFiles(directory={root!r})
"""


def commands(root: Path, port: int, workers: int) -> dict[str, list[str]]:
    """How each server is started."""
    python = [sys.executable, "-m"]
    folder = root.parent
    config = folder / f"nginx-{workers}.conf"
    text = _NGINX.format(folder=folder, host=HOST, port=port, root=root)
    text = text.replace("master_process off; worker_processes 1", f"worker_processes {workers}")
    config.write_text(("user root;" if os.geteuid() == 0 else "") + text)  # whose folder it is
    (folder / "files.py").write_text(APPLICATION.format(root=str(root)))
    several = ["--workers", str(workers)]
    serve = [*python, "evsockets", "serve", str(root), "--address", f"tcp://{HOST}:{port}", *several]
    uvicorn = [*python, "uvicorn", "--app-dir", str(folder), "--port", str(port), "--log-level", "error"]
    return {
        "nginx": ["/usr/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)],
        "evsockets serve": serve,
        "uvicorn, StaticFiles": [*uvicorn, *several, "files:application"],
    }


def used(pid: int) -> float:
    """Seconds of processor time of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(used(int(child)) for child in children)


def load(port: int, seconds: int) -> tuple[int, float]:
    """How many requests were answered, in how many seconds."""
    command = ["wrk", "-t", "1", "-c", "50", "-d", str(seconds), f"http://{HOST}:{port}/file.bin"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = _COUNT.search(told)
    if match is None or "Non-2xx" in told:
        raise RuntimeError(told)
    return int(match[1]), float(match[2]) * _SECONDS[match[3]]


def measured(command: list[str], port: int, seconds: int) -> tuple[float, float]:
    """Requests a second, and microseconds of processor time each."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex((HOST, port)) == 0:
                        break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{command} does not listen")
                time.sleep(0.05)
            load(port, 1)
            before = used(process.pid)
            count, took = load(port, seconds)
            return count / took, (used(process.pid) - before) / count * 1e6
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "site"
        root.mkdir()
        (root / "file.bin").write_bytes(bytes(1024))
        for _ in range(arguments.rounds):
            for workers in (1, 2):
                for name in commands(root, 0, workers):
                    with socket.create_server((HOST, 0)) as probe:
                        port = probe.getsockname()[1]
                    command = commands(root, port, workers)[name]
                    sample = measured(command, port, arguments.seconds)
                    found.setdefault((name, workers), []).append(sample)
    print("| server | workers | requests/s | min - max | of one worker | CPU us each |")
    print("|---|---|---|---|---|---|")
    for (name, workers), samples in sorted(found.items()):
        rates = [rate for rate, _ in samples]
        ratio = median(rates) / median(rate for rate, _ in found[name, 1])
        each = median(microseconds for _, microseconds in samples)
        spread = f"{min(rates):,.0f} - {max(rates):,.0f}"
        print(f"| {name} | {workers} | {median(rates):,.0f} | {spread} | {ratio:.2f} | {each:.0f} |")


if __name__ == "__main__":
    main()
