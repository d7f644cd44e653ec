"""Text for people: byte counts, durations, and untrusted text without control characters."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return `text` with non-printable characters escaped, such as \x1b.

    Untrusted text (addresses, above all) could otherwise move the cursor of a terminal, forge lines, or be
    impossible to encode.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def one_line(text: str) -> str:
    """Return `text`, printable, with its line breaks turned into "; " (into a space after a colon)."""
    lines = "; ".join(line.strip() for line in text.splitlines() if line.strip()).replace(":; ", ": ")
    return printable(lines)


def human_bytes(number: float) -> str:
    """Return a byte count for people: "812 B", "1.4 MiB"."""
    if number < 1024:
        return f"{int(number)} B"
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def human_seconds(value: float | None) -> str:
    """Return a duration for people: "0.3 ms", "210 ms", "1.50 s", or "-" without one."""
    if value is None:
        return "-"
    if value < 0.01:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def shorten(text: str, width: int) -> str:
    """Return `text` cut in its middle so that it takes at most `width` (5 or more) columns."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"
