"""Conditional requests (RFC 9110, section 13) and range requests (section 14)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from http import HTTPStatus

from ..http import HttpError, Request

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
#: The three forms of a date (RFC 9110, 5.6.7): the usual one, that of RFC 850, and that of asctime().
_DATES = tuple(
    map(
        re.compile,
        (
            rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
            rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
            rf"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
            rf"{_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
        ),
    )
)
#: The fields of a request that ask for something else than all of what is here.
CONDITIONS = frozenset(
    {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"}
)
_TAG = re.compile(r'(W/)?("[!#-~\x80-\xff]*")')
_SPAN = re.compile(r"([0-9]*)-([0-9]*)")


def parse_date(text: str | None) -> float | None:
    """Return the date of a header field as a Unix timestamp; None if there is none, or none that is valid."""
    match = next((found for form in _DATES if text and (found := form.fullmatch(text))), None)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        # What looks like more than 50 years ahead is the past (RFC 9110, 5.6.7).
        this = datetime.now(UTC).year
        year += this - this % 100
        year -= 100 if year > this + 50 else 0
    second = int(match["second"])
    try:
        when = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            59 if second == 60 else second,  # a leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return when.timestamp()


def refusal(request: Request, tag: str | None, modified: float | None) -> HTTPStatus | None:
    """Return the status to answer instead of the file, by the conditions of a GET or HEAD, or None.

    412: a precondition failed; 304: the client has the current file. `tag` and `modified` (a Unix timestamp)
    are those of the file, None if it has none. The order is that of RFC 9110, 13.2.2.
    """
    headers = request.headers
    wanted = headers.get("if-match")
    if wanted is not None:
        if not _names(wanted, tag, weak=False):
            return HTTPStatus.PRECONDITION_FAILED
    elif modified is not None:
        since = parse_date(headers.get("if-unmodified-since"))
        if since is not None and int(modified) > since:
            return HTTPStatus.PRECONDITION_FAILED
    wanted = headers.get("if-none-match")
    if wanted is not None:
        return HTTPStatus.NOT_MODIFIED if _names(wanted, tag, weak=True) else None
    if modified is not None:
        since = parse_date(headers.get("if-modified-since"))
        if since is not None and int(modified) <= since:
            return HTTPStatus.NOT_MODIFIED
    return None


def _names(wanted: str, tag: str | None, *, weak: bool) -> bool:
    """Whether a list of entity tags, or "*", names `tag`; a weak tag does so only if `weak`."""
    if wanted == "*":
        return True
    return any(name == tag and (weak or not prefix) for prefix, name in _TAG.findall(wanted))


def range_applies(request: Request, tag: str, modified: float) -> bool:
    """Whether the Range header applies: If-Range is absent, or matches the present file. A date matches only
    if it is a strong validator, since a file may change twice in a second (RFC 9110, 8.8.2.2 and 13.1.5)."""
    condition = request.headers.get("if-range")
    if condition is None or condition == tag:
        return True
    return parse_date(condition) == int(modified) and time.time() - modified >= 1


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return the `(start, stop)` of a Range header for `size` bytes; None for everything.

    Other units than bytes and several ranges at once are ignored (RFC 9110, 14.2). HttpError 416 for one
    that is malformed or lies outside.
    """
    unit, equals, ranges = ("", "", "") if text is None else text.partition("=")
    if not equals or unit.strip(" \t").lower() != "bytes" or "," in ranges:
        return None
    match = _SPAN.fullmatch(ranges.strip(" \t"))
    if match is not None:
        first, last = match.groups()
        if first:
            start, stop = _at_most(size, first), min(_at_most(size, last) + 1, size) if last else size
            if start < stop:
                return start, stop
        elif last and size and (length := _at_most(size, last)):
            return size - length, size
    raise HttpError(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "no such range",
        (("Content-Range", f"bytes */{size}"),),
    )


def _at_most(size: int, digits: str) -> int:
    """The number in `digits`, or `size` if it is more: however many digits there are."""
    digits = digits.lstrip("0")
    return size if len(digits) > len(str(size)) else min(size, int(digits or "0"))
