"""Run the benchmarks: `python -m tests.bench [--quick] [section...]` prints one table a measurement.

Every peer runs once a round, in turn, as a process pinned to one processor with its load on another; what is
printed is the median of the rounds with its least and greatest, and the median of the rounds' ratios to the
hand-written epoll loop of the same round. Measured is the evsockets that is installed. Needs Linux, gcc,
OpenSSL's headers, trustme, strace for the counts of system calls and valgrind for those of instructions;
peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from .kinds import Kind, Peer, Sample
from .lab import BenchError, Lab
from .sections import SECTIONS

DISTURBED = 1.25  # on the noise gauge
TRIES = 5


def missing(lab: Lab, peers: list[Peer]) -> dict[str, str]:
    """The names of those peers that cannot run here, and why."""
    engines: dict[str, str | None] = lab.ask("evsockets.available_engines()")
    reasons = {}
    for peer in peers:
        if peer.needs.startswith("engine:"):
            why = engines.get(peer.needs[7:], "no such engine")
            if why is not None:
                reasons[peer.name] = why
        elif peer.needs and find_spec(peer.needs) is None:
            reasons[peer.name] = f"{peer.needs} is not installed"
    return reasons


def take(lab: Lab, kind: Kind, peer: Peer) -> Sample:
    """One sample, in a quiet moment if the lab is patient."""
    for _ in range(TRIES if lab.patient else 1):
        before = lab.gauge() if lab.patient else 0
        sample = kind.sample(lab, peer)
        if not lab.patient or max(before, lab.gauge()) < DISTURBED:
            break
    return sample


def spread(values: list[float], digits: int) -> list[str]:
    """Median, and least and greatest, as text."""
    texts = [f"{value:,.{digits}f}" for value in (median(values), min(values), max(values))]
    return [texts[0], f"{texts[1]} - {texts[2]}"]


def table(kind: Kind, samples: dict[str, list[Sample]]) -> list[list[str]]:
    """The rows of a measurement's table, headings first."""
    rows = [["peer", kind.unit, "min - max", f"x {kind.base}", "min - max"]]
    timed = any(sample.cpu is not None for taken in samples.values() for sample in taken)
    if timed:
        rows[0] += ["CPU us each", "x"]
    base = samples.get(kind.base, [])
    for name, taken in samples.items():
        if not taken:
            continue
        values = [sample.value for sample in taken]
        row = [name, *spread(values, 0 if median(values) >= 1000 else 2)]
        ratios = [value / reference.value for value, reference in zip(values, base, strict=False)]
        row += spread(ratios, 2) if ratios else ["-", "-"]
        if timed:
            used = [sample.cpu or 0.0 for sample in taken]
            shares = [cpu / (reference.cpu or cpu) for cpu, reference in zip(used, base, strict=False)]
            row += [f"{median(used):.2f}", f"{median(shares):.2f}" if shares else "-"]
        rows.append(row)
    return rows


def show(rows: list[list[str]]) -> None:
    """Print a table that is Markdown as well."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        padded = enumerate(zip(row, widths, strict=True))
        cells = [cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in padded]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            rule = ["-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)]
            print("|" + "|".join(rule) + "|")
    print(flush=True)


def measure(lab: Lab, kind: Kind, rounds: int, only: list[str]) -> dict[str, list[Sample]]:
    """Every peer once a round, those that fail or are absent reported and left out."""
    peers = [
        peer
        for peer in kind.peers
        if not only or peer.name == kind.base or any(part in peer.name for part in only)
    ]
    absent = missing(lab, peers)
    for name, why in absent.items():
        print(f"({name} left out: {why})")
    peers = [peer for peer in peers if peer.name not in absent]
    samples: dict[str, list[Sample]] = {peer.name: [] for peer in peers}
    failed = set()
    for _ in range(rounds):
        for peer in peers:
            if peer.name in failed:
                continue
            try:
                samples[peer.name].append(take(lab, kind, peer))
            except BenchError as error:
                failed.add(peer.name)
                print(f"({peer.name} failed: {error})")
    return samples


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("section", nargs="*", help=f"of {', '.join(SECTIONS)} (default: all but soak)")
    parser.add_argument("--quick", action="store_true", help="an eighth of the work and one round")
    parser.add_argument("--rounds", type=int, help="rounds (default: 5, or 1 with --quick)")
    parser.add_argument("--peers", nargs="+", default=[], help="only those named in part, and the base")
    parser.add_argument(
        "--patient", action="store_true", help="repeat runs that a noise gauge finds disturbed"
    )
    parser.add_argument("--json", type=Path, help="write the samples to this file as well")
    options = parser.parse_args()
    unknown = set(options.section) - set(SECTIONS)
    if unknown:
        parser.error(f"unknown section {', '.join(sorted(unknown))}")
    record: dict[str, dict[str, list[float]]] = {}
    with Lab.open(quick=options.quick, patient=options.patient) as lab:
        print(f"{lab.build()}\n", flush=True)
        for section in options.section or [name for name in SECTIONS if name != "soak"]:
            for kind in SECTIONS[section]:
                print(f"### {kind.title}\n", flush=True)
                samples = measure(lab, kind, options.rounds or (1 if options.quick else 5), options.peers)
                show(table(kind, samples))
                record[kind.title] = {name: [one.value for one in taken] for name, taken in samples.items()}
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
