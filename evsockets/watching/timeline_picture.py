"""A timeline as a picture in SVG: the phases of each socket as bars on one axis, grouped by outcome."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from ..text import human_bytes, human_seconds, printable, shorten
from .timeline_record import PHASES, LeftOut, Record

_WIDTH, _LEFT, _RIGHT = 1000, 250, 150
# Rows drawn at most; the height they share, and that of one, in pixels.
_ROWS, _ROOM = 600, 1000.0
_LOWEST, _HIGHEST, _LABELLED = 3.0, 20.0, 12.0
_HEADER = 30.0

# Each phase with its words and its colours, on light and on dark.
_LOOKS = {
    "resolving": ("resolving", "#8250df", "#a371f7"),
    "connecting": ("connecting", "#bf8700", "#d4a72c"),
    "handshaking": ("TLS handshake", "#bc4c00", "#f0883e"),
    "writing": ("writing", "#0969da", "#4493f8"),
    "awaiting": ("waiting for the first byte", "none", "none"),
    "receiving": ("receiving", "#1a7f37", "#3fb950"),
    "delayed": ("delayed", "#bf3989", "#db61a2"),
    "sleeping": ("sleeping", "#9a6700", "#ae7c14"),
    "waiting": ("waiting for others", "#57606a", "#6e7681"),
    "idle": ("idle", "#d0d7de", "#3d444d"),
    "listening": ("listening", "#54aeff", "#1158c7"),
    "later": ("what came later", "#8c959f", "#656c76"),
}
_INK = {
    "bg": ("#ffffff", "#0d1117"), "ink": ("#1f2328", "#e6edf3"), "faint": ("#59636e", "#9198a1"),
    "rule": ("#d1d9e0", "#3d444d"), "bad": ("#cf222e", "#ff7b72"), "wait": ("#6e7781", "#9198a1"),
}  # fmt: skip


def _style() -> str:
    def colours(which: int) -> str:
        named = [f"--{name}:{pair[which]}" for name, pair in _INK.items()]
        return ";".join([*named, *(f"--{name}:{look[which + 1]}" for name, look in _LOOKS.items())])

    fills = "".join(f".{name}{{fill:var(--{name})}}" for name in _LOOKS)
    return (
        f"svg{{{colours(0)};color-scheme:light dark}}"
        f"@media(prefers-color-scheme:dark){{svg{{{colours(1)}}}}}"
        'text{font:12px "DejaVu Sans","Helvetica Neue",Arial,sans-serif;fill:var(--ink)}'
        ".title{font-size:16px;font-weight:bold}.head{font-weight:bold}.faint{fill:var(--faint)}"
        ".bg{fill:var(--bg)}.bad{fill:var(--bad)}.rule{stroke:var(--rule)}.end{stroke:var(--faint)}"
        ".mark{stroke:var(--bad);fill:none;stroke-width:1.6}"
        f"{fills}.awaiting{{stroke:var(--wait);stroke-width:1}}"
        ".late{fill:url(#evsockets-late)}.hatch{stroke:var(--bad);stroke-width:3}"
    )


@dataclass
class Group:
    """The sockets of one outcome."""

    outcome: str
    records: list[Record] = field(default_factory=list)  # those that are drawn
    seconds: list[float] = field(default_factory=list)  # of all that are recorded, in order
    left_out: tuple[int, float] = (0, 0.0)

    @property
    def count(self) -> int:
        """How many sockets ended so."""
        return len(self.seconds) + self.left_out[0]

    @property
    def is_late(self) -> bool:
        """Whether a time-out ended them."""
        return self.outcome.startswith("timed out")

    @property
    def is_bad(self) -> bool:
        """Whether an error did."""
        return not self.is_late and self.outcome not in _HARMLESS


#: Outcomes that are no failures, in the order they are shown, before all others.
_HARMLESS = (
    "complete", "listening", "ended by the peer", "running", "stopped", "cancelled",
    "ended before it was connected",
)  # fmt: skip


def draw(records: Sequence[Record], left_out: LeftOut, now: float) -> Iterator[str]:
    """Yield the document in pieces. `left_out`: of each outcome how many sockets are not among `records`, and
    the seconds they took; `now` is the end of those that go on."""
    others = left_out.first if left_out.outcomes else 0.0
    origin = min((record.times[0] for record in records), default=others)
    last = max((record.end if record.outcome else now for record in records), default=origin)
    whole = max(last - origin, 1e-6)  # of what is drawn
    groups = _grouped(records, left_out, now, whole)
    drawn = sum(len(group.records) for group in groups)
    row = min(_HIGHEST, max(_LOWEST, _ROOM / max(1, drawn)))
    top = 142.0 + _HEADER * ((len(_used(records)) - 1) // 6)
    bottom = top + _HEADER * len(groups) + row * drawn
    count = sum(group.count for group in groups)
    run = max(1e-6, max(last, left_out.last) - min(origin, left_out.first))
    title = f"{count} socket{'s' * (count != 1)} in {human_seconds(run)}"
    height = bottom + 44
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{title}"><style>{_style()}</style>'
        '<pattern id="evsockets-late" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern>\n'
        f'<rect class="bg" width="100%" height="100%"/><text class="title" x="14" y="26">{title}</text>\n'
    )
    listening = sum(record.seconds(now) for record in records if record.listens)
    yield from _sums(sum(sum(group.seconds) + group.left_out[1] for group in groups) - listening, run)
    yield from _legend(records, groups, 104)
    scale = (_WIDTH - _LEFT - _RIGHT) / whole
    yield from _axis(whole, scale, top, bottom)
    y = top
    for group in groups:
        yield from _head(group, y, count)
        y += _HEADER
        for record in group.records:
            yield from _bars(record, group, y, row, origin, scale, now)
            y += row
    yield "</svg>\n"


def _grouped(
    records: Sequence[Record], left_out: LeftOut, now: float, whole: float
) -> list[Group]:
    """The groups, good ones first, then by size; in each, who began together stands together, the fastest
    first, and so many of them that all fit."""
    groups: dict[str, Group] = {}
    for record in records:
        outcome = record.outcome or "running"
        if record.listens and outcome in _HARMLESS:
            outcome = "listening"  # apart from the clients, whose durations it would hide
        group = groups.setdefault(outcome, Group(outcome))
        group.records.append(record)
        group.seconds.append(record.seconds(now))
    for outcome, left in left_out.outcomes.items():
        groups.setdefault(outcome, Group(outcome)).left_out = left
    first = min((record.times[0] for record in records), default=0.0)
    for group in groups.values():
        group.seconds.sort()
        group.records.sort(key=lambda one: (int(50 * (one.times[0] - first) / whole), one.seconds(now)))
        share = max(8, _ROWS * len(group.records) // max(1, len(records)))
        group.records = group.records[:: -(-len(group.records) // share) or 1]
    rank = dict(zip(_HARMLESS, range(-len(_HARMLESS), 0), strict=True))
    return sorted(groups.values(), key=lambda one: (rank.get(one.outcome, 0), -one.count, one.outcome))


def _sums(alone: float, whole: float) -> Iterator[str]:
    """All lives one after the other, against the whole: what it was worth to have them at once."""
    longest = max(alone, whole, 1e-9)
    room = _WIDTH - _LEFT - _RIGHT
    for number, (label, seconds, look) in enumerate(
        (("one after another", alone, "later"), ("at once", whole, "writing"))
    ):
        y = 44 + 18 * number
        width = max(1.0, room * seconds / longest)
        yield (
            f'<text class="faint" x="{_LEFT - 10}" y="{y + 10}" text-anchor="end">{label}</text>'
            f'<rect class="{look}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="12" rx="2"/>'
            f'<text x="{_LEFT + width + 8:.1f}" y="{y + 10}">{human_seconds(seconds)}'
            f"{f', {alone / whole:.1f} times as fast' if number and alone > 1.05 * whole else ''}</text>\n"
        )


def _used(records: Sequence[Record]) -> list[str]:
    used = {code for record in records for code in record.codes}
    return [name for code, name in enumerate(PHASES) if code in used]


def _legend(records: Sequence[Record], groups: Sequence[Group], y: float) -> Iterator[str]:
    x = 14.0
    entries = [(name, _LOOKS[name][0]) for name in _used(records)]
    if any(group.is_late for group in groups):
        entries.append(("late", "until the time-out"))
    for look, words in entries:
        width = 24 + 7.3 * len(words)
        if x + width > _WIDTH - 14:
            x, y = 14.0, y + 20
        under = '<rect class="awaiting"' if look == "late" else None
        box = f'x="{x + 0.5}" y="{y - 10.5}" width="12" height="11" rx="2"/>'
        yield (f"{under} {box}" if under else "") + f'<rect class="{look}" {box}'
        yield f'<text x="{x + 18}" y="{y}">{words}</text>\n'
        x += width + 6
    if any(group.is_bad for group in groups):
        yield f'{_cross(x + 6, y - 5, 5)}<text x="{x + 18}" y="{y}">failed</text>\n'


def _axis(whole: float, scale: float, top: float, bottom: float) -> Iterator[str]:
    """Ticks at round times, and both ends with theirs."""
    step = tick_step(whole)
    end = _LEFT + whole * scale
    for number in range(int(whole / step + 1e-9) + 1):
        x = _LEFT + number * step * scale
        yield f'<line class="rule" x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom + 4:.1f}"/>'
        if end - x > 60 or number == 0:
            yield _tick(x, tick_text(number * step, step), top, bottom)
    yield f'<line class="end" x1="{end:.1f}" y1="{top - 4}" x2="{end:.1f}" y2="{bottom + 4:.1f}"/>'
    yield _tick(end, human_seconds(whole), top, bottom) + "\n"


def _tick(x: float, text: str, top: float, bottom: float) -> str:
    return "".join(
        f'<text class="faint" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{text}</text>'
        for y in (top - 9, bottom + 18)
    )


def tick_step(longest: float) -> float:
    """Return the distance of the axis' ticks: 1, 2 or 5 times a power of ten, for 4 to 10 ticks."""
    power = 10.0 ** math.floor(math.log10(longest))
    for factor in (0.1, 0.2, 0.5, 1.0):
        if longest / (factor * power) <= 10:
            return factor * power
    return 2 * power


def tick_text(at: float, step: float) -> str:
    """Return a tick's time, with as many digits as `step` asks for."""
    if at == 0:
        return "0"
    if step < 0.001:
        return f"{at * 1000:.{max(1, -math.floor(math.log10(step)) - 3)}f} ms"
    if step < 0.1:
        return f"{at * 1000:.0f} ms"
    return f"{at:.1f} s" if step < 1 else f"{at:.0f} s"


def _head(group: Group, y: float, count: int) -> Iterator[str]:
    share = f"{group.count} of {count}"
    if len(group.records) < group.count:
        share += f", {len(group.records)} drawn"
    if group.left_out[0]:
        share += f", of {len(group.seconds)}"
    kind = "head bad" if group.is_bad or group.is_late else "head"
    name = escape(shorten(printable(group.outcome), 60))
    yield (
        f'<text x="14" y="{y + 20:.1f}"><tspan class="{kind}">{name}</tspan>'
        f'<tspan class="faint" dx="10">{share}{_percentiles(group.seconds)}</tspan></text>\n'
    )


def _percentiles(seconds: Sequence[float]) -> str:
    """Those that so many have; `seconds` are sorted."""
    number = len(seconds)
    named = (("median", 0.5, 4), ("90 %", 0.9, 10), ("99 %", 0.99, 100), ("slowest", 1.0, 4))
    chosen = [
        f"{name} {human_seconds(seconds[max(0, math.ceil(part * number) - 1)])}"
        for name, part, fewest in named
        if number >= fewest
    ]
    return ": " + ", ".join(chosen) if chosen else ""


def _bars(
    record: Record, group: Group, y: float, row: float, origin: float, scale: float, now: float
) -> Iterator[str]:
    height = row - 6 if row >= _LABELLED else max(2.0, row - 1)
    middle = y + row / 2
    name = printable(record.label)
    taken = human_seconds(record.seconds(now))
    about = f"{name}: {group.outcome}, {taken}, {human_bytes(record.sent)} sent, "
    about = f"{about}{human_bytes(record.received)} received. {record.detail}"
    yield f"<g><title>{escape(printable(about))}</title>"
    place = ""
    for phase, began, ended in record.phases(now):
        # Half a pixel at least, so that even the shortest phase leaves a mark.
        x, width = _LEFT + (began - origin) * scale, max(0.5, (ended - began) * scale)
        place = f'x="{x:.2f}" y="{middle - height / 2:.1f}" width="{width:.2f}" height="{height:.1f}"'
        tip = "" if row < _LABELLED else f"<title>{_LOOKS[phase][0]} {human_seconds(ended - began)}</title>"
        yield f'<rect class="{phase}" {place}>{tip}</rect>'
    if group.is_late:
        yield f'<rect class="late" {place}/>'
    x = _LEFT + ((record.end if record.outcome else now) - origin) * scale
    if group.is_bad:
        yield _cross(x + 7, middle, min(5.0, height / 2))
    elif group.is_late:
        yield f'<path class="mark" d="M{x:.1f} {middle - row / 2:.1f}v{row:.1f}"/>'
    if row >= _LABELLED:
        y = middle + 4
        x += 17 if group.is_bad else 8
        label = escape(shorten(name, 32))
        yield (
            f'<text x="{_LEFT - 10}" y="{y:.1f}" text-anchor="end">{label}</text>'
            f'<text class="faint" x="{x:.1f}" y="{y:.1f}">{taken}</text>'
        )
    yield "</g>\n"


def _cross(x: float, y: float, size: float) -> str:
    return (
        f'<path class="mark" d="M{x - size:.1f} {y - size:.1f}l{2 * size:.1f} {2 * size:.1f}'
        f'm0 {-2 * size:.1f}l{-2 * size:.1f} {2 * size:.1f}"/>'
    )
