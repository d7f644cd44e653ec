"""The timeline picture: each request's phases as bars on one time axis, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .common import CommandError, human_seconds, shorten
from .gathering import Gathering, Request
from .phases import PHASE_COLOURS

_WIDTH = 1000
_LEFT = 270
_RIGHT = 185
_TOP = 74
_FOOT = 34
_CROSS = "#c9302c"
_STYLE = """
  text { font: 12px "DejaVu Sans", "Helvetica Neue", Arial, sans-serif; fill: #24292f; }
  .title { font-size: 16px; font-weight: bold; }
  .faint { fill: #57606a; }
  .bad { fill: #c9302c; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
"""


def check_picture(path: str | None) -> None:
    """Make sure that a picture can be written to `path`: better known before the run than after it."""
    if path is not None:
        try:
            open(path, "ab").close()
        except OSError as error:
            raise _cannot_write(path, error) from error


def draw(path: str | None, gathering: Gathering, engine: str) -> None:
    """Write the picture of what `gathering` did to `path`; None: draws nothing."""
    if path is not None:
        try:
            with open(path, "w", encoding="utf-8") as out:
                out.write(draw_timeline(gathering.requests, gathering.seconds, engine))
        except OSError as error:
            raise _cannot_write(path, error) from error


def _cannot_write(path: str, error: OSError) -> CommandError:
    return CommandError(f"--timeline: cannot write {path}: {error.strerror}; give another place")


def draw_timeline(requests: Sequence[Request], seconds: float, engine: str) -> str:
    """Return an SVG document showing what each request did when.

    `seconds` is the length of the whole run, `engine` the name of what it ran on.
    """
    row = min(22.0, max(4.0, 2400 / max(1, len(requests))))
    bottom = _TOP + row * len(requests)
    longest = max([seconds, *(phase.end or 0.0 for one in requests for phase in one.log.phases), 1e-6])
    step = tick_step(longest)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    good = sum(one.ok for one in requests)
    failed = len(requests) - good
    title = f"{len(requests)} requests in {human_seconds(seconds)} on engine {engine}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{bottom + _FOOT:.0f}" '
        f'viewBox="0 0 {_WIDTH} {bottom + _FOOT:.0f}" role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text class="title" x="14" y="26">{escape(title)}</text>',
        f'<text class="faint" x="{_WIDTH - 14}" y="26" text-anchor="end">{good} complete, '
        f"{failed} failed</text>",
        *_legend(requests),
        *_grid(longest, step, scale, bottom),
    ]
    for number, request in enumerate(requests):
        parts += _bars(request, _TOP + row * number, row, scale)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def tick_step(longest: float) -> float:
    """Return the distance of the axis' ticks: 1, 2 or 5 times a power of ten, for 4 to 10 ticks."""
    power = 10.0 ** math.floor(math.log10(longest))
    for factor in (0.1, 0.2, 0.5, 1.0):
        if longest / (factor * power) <= 10:
            return factor * power
    return 2 * power


def _legend(requests: Sequence[Request]) -> list[str]:
    used = {phase.name for request in requests for phase in request.log.phases}
    x = 14.0
    parts = []
    for name, colour in PHASE_COLOURS.items():
        if name in used:
            parts.append(f'<rect x="{x}" y="42" width="12" height="12" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{x + 17}" y="52">{name}</text>')
            x += 32 + 7.4 * len(name)
    if not all(request.ok for request in requests):
        parts.append(_cross(x + 6, 48, 5))
        parts.append(f'<text x="{x + 17}" y="52">failed</text>')
    return parts


def _grid(longest: float, step: float, scale: float, bottom: float) -> list[str]:
    parts = []
    for number in range(int(longest / step + 1e-9) + 1):
        at = number * step
        x = _LEFT + at * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom + 4:.1f}"/>')
        parts.append(
            f'<text class="faint" x="{x:.1f}" y="{bottom + 20:.1f}" text-anchor="middle">'
            f"{_tick_text(at, step)}</text>"
        )
    return parts


def _tick_text(at: float, step: float) -> str:
    if at == 0:
        return "0"
    if step < 0.001:
        return f"{at * 1000:.{max(1, -math.floor(math.log10(step)) - 3)}f} ms"
    if step < 0.1:
        return f"{at * 1000:.0f} ms"
    return f"{at:.1f} s" if step < 1 else f"{at:.0f} s"


def _bars(request: Request, top: float, row: float, scale: float) -> list[str]:
    height = max(2.0, row - 6) if row > 10 else row - 1
    middle = top + row / 2
    parts = []
    if row >= 12:
        label = escape(shorten(request.label, 36))
        parts.append(
            f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">'
            f"<title>{escape(request.label)}</title>{label}</text>"
        )
    end = 0.0
    for phase in request.log.phases:
        end = phase.start if phase.end is None else phase.end
        tip = f"{request.label}: {phase.name} {human_seconds(end - phase.start)}"
        # Half a pixel at least, so that even the shortest phase leaves a mark.
        parts.append(
            f'<rect x="{_LEFT + phase.start * scale:.2f}" y="{middle - height / 2:.1f}" '
            f'width="{max(0.5, (end - phase.start) * scale):.2f}" height="{height:.1f}" '
            f'fill="{PHASE_COLOURS.get(phase.name, "#888888")}"><title>{escape(tip)}</title></rect>'
        )
    x = _LEFT + end * scale
    if not request.ok:
        parts.append(_cross(x + 7, middle, min(5.0, height / 2)))
    if row >= 12:
        kind = "faint" if request.ok else "bad"
        text = human_seconds(request.log.seconds()) if request.ok else request.outcome
        parts.append(
            f'<text class="{kind}" x="{x + (8 if request.ok else 17):.1f}" y="{middle + 4:.1f}">'
            f"{escape(text)}</text>"
        )
    return parts


def _cross(x: float, y: float, size: float) -> str:
    return (
        f'<path d="M{x - size:.1f} {y - size:.1f} L{x + size:.1f} {y + size:.1f} '
        f'M{x - size:.1f} {y + size:.1f} L{x + size:.1f} {y - size:.1f}" '
        f'stroke="{_CROSS}" stroke-width="2" fill="none"/>'
    )
