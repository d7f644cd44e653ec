"""Where the measuring happens: compiled helpers, a certificate, pinned processes, a noise gauge."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LIMIT = 60.0  # seconds after which a program under test is considered hung


@dataclass(frozen=True, slots=True)
class Counter:
    """A program that counts what another one does: its command, `{}` being a file, and its total there."""

    unit: str
    command: tuple[str, ...]
    total: str

    def before(self, command: list[str], summary: Path) -> list[str]:
        """`command`, counted; the total is left in `summary`."""
        return [part.format(summary) for part in self.command] + command

    def read(self, summary: Path) -> int:
        """The total in `summary`."""
        found = re.search(self.total, summary.read_text(), re.MULTILINE)
        if found is None:
            raise BenchError(f"no total in {summary}")
        return int(found[1].replace(",", ""))


SYSTEM_CALLS = Counter(
    "system calls", ("strace", "-f", "-c", "-o", "{}"), r"^\S+ +\S+ +(?:\S+ +)?(\d+) +(?:\d+ +)?total$"
)
#: Of user space only, and exact but for what the hashes of strings and addresses do to the tables of Python.
INSTRUCTIONS = Counter(
    "instructions",
    (
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
        "--log-file={}",
        "--trace-children=no",
    ),
    r"I +refs: +([\d,]+)",
)


class BenchError(Exception):
    """A program under test failed; the message holds what it wrote to its standard error."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server process that has announced itself."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Processor seconds used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> int:
        """Bytes of memory held now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE


class Lab:
    """Runs programs under test on one processor and their load on another.

    They use the evsockets that this Python has installed, or finds on PYTHONPATH, not the checkout's sources.

    `quick` divides the amount of work by eight; `patient` repeats a run that a noise gauge finds disturbed.
    """

    def __init__(self, folder: Path, *, quick: bool = False, patient: bool = False) -> None:
        processors = sorted(os.sched_getaffinity(0))
        self.folder = folder
        self.quick = quick
        self.patient = patient
        self.test_cpu = processors[0]
        self.load_cpu = processors[-1]
        self.best_gauge = float("inf")
        (folder / "tests").symlink_to(HERE.parent)  # the programs under test, without the sources beside them
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        self.environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}

    @classmethod
    @contextlib.contextmanager
    def open(cls, *, quick: bool, patient: bool) -> Iterator[Lab]:
        """A lab with a folder of its own, removed at the end."""
        with tempfile.TemporaryDirectory(prefix="evsockets-bench-") as folder:
            yield cls(Path(folder), quick=quick, patient=patient)

    def scale(self, amount: int) -> int:
        """`amount`, or an eighth of it in quick mode."""
        return amount // 8 if self.quick else amount

    @cached_property
    def native(self) -> dict[str, str]:
        """The paths of the compiled `server` and `generator`."""
        return {name: self.compiled(name, "-lssl", "-lcrypto") for name in ("server", "generator")}

    def compiled(self, name: str, *options: str) -> str:
        """The path of what becomes of a C source."""
        path = self.folder / name
        if not path.exists():
            subprocess.run(["gcc", "-O2", "-o", path, HERE / "native" / f"{name}.c", *options], check=True)
        return str(path)

    @cached_property
    def certificates(self) -> tuple[str, str, str]:
        """Paths of a certificate authority, a certificate for localhost and its key (ECDSA P-256)."""
        import trustme

        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        paths = tuple(str(self.folder / name) for name in ("ca.pem", "certificate.pem", "key.pem"))
        authority.cert_pem.write_to_path(paths[0])
        Path(paths[1]).write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(paths[2])
        return paths[0], paths[1], paths[2]

    def python(self, module: str, *arguments: str) -> list[str]:
        """The command that runs a peer's program."""
        return [sys.executable, "-m", f"tests.bench.peers.{module}", *arguments]

    def ask(self, expression: str) -> Any:
        """What `expression` about `evsockets` is where the programs under test run."""
        probe = f"import json, evsockets, evsockets._build; print(json.dumps({expression}))"
        command = [sys.executable, "-c", probe]
        asked = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if asked.returncode:
            raise BenchError(f"evsockets cannot be used: {asked.stderr.strip()[-2000:]}")
        return json.loads(asked.stdout)

    def build(self) -> str:
        """Which evsockets is measured, and how it was built."""
        parts = "(evsockets.__version__, evsockets._build.describe(), evsockets.__file__)"
        version, build, file = self.ask(parts)
        return f"evsockets {version} ({build}) of {Path(file).parent}, Python {platform.python_version()}"

    def _start(self, command: list[str], cpu: int, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
            env=self.environment,
            **options,
        )

    def run(self, command: list[str], *, load: bool = False, limit: float = LIMIT) -> dict[str, float]:
        """Run a program to its end, within `limit` seconds; the JSON object it printed. `load`: on the load's
        processor."""
        process = self._start(command, self.load_cpu if load else self.test_cpu, stdin=subprocess.DEVNULL)
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise BenchError(f"{command} did not end within {limit:.0f} s") from None
        if process.returncode or not output.strip():
            raise BenchError(f"{command} ended with {process.returncode}: {errors.strip()[-2000:]}")
        result: dict[str, float] = json.loads(output)
        return result

    @contextlib.contextmanager
    def serving(self, command: list[str], *, load: bool = False) -> Iterator[Server]:
        """Run a server while the block runs, then end it."""
        process = self._start(command, self.load_cpu if load else self.test_cpu, stdin=subprocess.DEVNULL)
        try:
            yield Server(*_announcement(process))
        finally:
            process.kill()
            process.communicate()

    @contextlib.contextmanager
    def counted(self, command: list[str], counter: Counter, summary: Path) -> Iterator[Server]:
        """Run a server under `counter`, which leaves its total in `summary`."""
        process = self._start(counter.before(command, summary), self.test_cpu)
        server = Server(*_announcement(process))
        try:
            yield server
        finally:
            os.kill(server.pid, 15)
            process.communicate(timeout=LIMIT)

    @contextlib.contextmanager
    def idling(self, port: int, connections: int) -> Iterator[None]:
        """Keep `connections` connections open, one round trip done on each, while the block runs."""
        command = [self.native["generator"], "idle", str(port), str(connections)]
        process = self._start(command, self.load_cpu, stdin=subprocess.PIPE)
        assert process.stdout is not None
        if not _line(process.stdout):
            raise BenchError(f"{command}: {process.communicate()[1]}")
        try:
            yield
        finally:
            process.communicate("")

    def gauge(self) -> float:
        """How much slower than ever seen the quieter of this machine's moments is now (1.0: undisturbed)."""
        usual = os.sched_getaffinity(0)
        worst = 0.0
        for cpu in {self.test_cpu, self.load_cpu}:
            os.sched_setaffinity(0, {cpu})
            start = time.perf_counter()
            for _ in range(400_000):
                pass
            worst = max(worst, time.perf_counter() - start)
        os.sched_setaffinity(0, usual)
        self.best_gauge = min(self.best_gauge, worst)
        return worst / self.best_gauge


def _line(stream: IO[str]) -> str:
    return stream.readline().strip()


def _announcement(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdout is not None
    words = _line(process.stdout).split()
    if not words:
        raise BenchError(f"{process.args!r} did not start: {process.communicate()[1].strip()[-2000:]}")
    return int(words[0]), int(words[1])
