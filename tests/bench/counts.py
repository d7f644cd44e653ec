"""Instructions of an engine alone, counted by callgrind: in user space only, the same with every load.

It needs valgrind with its headers.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .kinds import Kind, Peer, Sample
from .lab import BenchError, Lab


def callgrind(lab: Lab) -> tuple[list[str], Path]:
    """What to put before a command whose `Stopwatch` counts instructions, and where their number is left."""
    log = lab.folder / "instructions"
    try:
        counter = lab.compiled("counter", "-shared", "-fPIC")
    except subprocess.CalledProcessError as error:
        raise BenchError("valgrind with its headers is needed to count instructions") from error
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--instr-atstart=no"]
    return ["env", "PYTHONHASHSEED=0", f"BENCH_COUNTER={counter}", *tool, f"--log-file={log}"], log


def counted(log: Path) -> int:
    """The number of instructions that a run under `callgrind` left."""
    found = re.search(r"Collected : (\d+)", log.read_text())
    if found is None:
        raise BenchError(f"no count in {log}")
    return int(found[1])


@dataclass(frozen=True, kw_only=True)
class Polls(Kind):
    """An engine with 100 descriptors watched: what one poll costs, and each further event in it."""

    further: bool
    unit: str = "instructions"
    base: str = "select.epoll"
    polls: int = 200
    ready: int = 51

    def cost(self, lab: Lab, peer: Peer, ready: int) -> float:
        """Of a poll that finds so many ready."""
        tool, log = callgrind(lab)
        options = ["--count", str(self.polls), "--concurrency", str(ready)]
        lab.run([*tool, *lab.python(peer.client, "polls", *peer.options(), *options)])
        return counted(log) / self.polls

    def sample(self, lab: Lab, peer: Peer) -> Sample:
        one = self.cost(lab, peer, 1)
        if not self.further:
            return Sample(one)
        return Sample((self.cost(lab, peer, self.ready) - one) / (self.ready - 1))
