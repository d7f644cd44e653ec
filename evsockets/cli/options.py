"""The values of options, from their text to what the library takes; what is wrong is said in one line."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from typing import NoReturn

from .. import AddressError, StreamContext
from ..address import Address, parse_address
from ..text import one_line
from ..transports.tls_context import client_context, server_context
from .common import CommandError

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_PLAIN_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", "'": b"'", '"': b'"'}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where it is explained."""

    def error(self, message: str) -> NoReturn:
        """Print `message` on standard error and exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} (see '{self.prog} --help')\n")

    def refuse(self, words: list[str]) -> NoReturn:
        """`error` about words that mean nothing, with the option that was probably meant."""
        known = re.findall(r"--[a-z-]+", self.format_usage())
        close = difflib.get_close_matches(words[0].partition("=")[0], known, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        self.error(f"unknown: {' '.join(words)}{hint}")


def seconds(text: str) -> float | None:
    """Return a time-out in seconds; "none" and "forever" give None. For argparse."""
    if text.lower() in ("none", "forever"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds such as 2.5, or 'none'")
    return None if math.isinf(value) else value


def delay(text: str) -> float:
    """Return a finite number of seconds, 0 or more. For argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds such as 0.5")
    return value


def count(text: str) -> int:
    """Return a whole number from 1 on. For argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no count; give a whole number from 1 on")
    return int(text)


def port(text: str) -> int:
    """Return a port, 0 to 65535. For argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 (any free one) to 65535")
    return int(text)


def escaped_bytes(text: str) -> bytes:
    r"""Return `text` as UTF-8 bytes, with \r \n \t \0 \\ \' \" and \xHH understood. For argparse."""
    parts: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[position : match.start()].encode("utf-8", "surrogateescape"))
        escape = match.group(1)
        if len(escape) == 3:
            parts.append(bytes([int(escape[1:], 16)]))
        elif escape in _PLAIN_ESCAPES:
            parts.append(_PLAIN_ESCAPES[escape])
        else:
            raise argparse.ArgumentTypeError(
                rf"unknown escape '\{escape}'; known are \r \n \t \0 \xHH, and \\ for a backslash"
            )
        position = match.end()
    parts.append(text[position:].encode("utf-8", "surrogateescape"))
    return b"".join(parts)


def origin(text: str) -> str:
    """Return an origin as browsers name it, such as "https://example.org", or "*". For argparse."""
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[\w.\-:\[\]]+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no origin; give one such as https://host, or '*'")
    return text


def path_of_http(text: str) -> str:
    """Return a path for a request line, with a slash in front. For argparse."""
    path = text if text.startswith("/") else f"/{text}"
    if not path.isascii() or not path.isprintable() or " " in path:
        raise argparse.ArgumentTypeError(f"{text!r} is no path; write blanks and the like percent-encoded")
    return path


def add_engine_option(parser: argparse._ActionsContainer) -> None:
    """Add `--engine`."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="what waits for the sockets, e.g. selectors, selectors:poll, libev, libevent, gevent "
        "('evsockets engines' lists them; default: EVSOCKETS_ENGINE, else the best one here)",
    )


def parsed(text: str, *, server: bool = False) -> Address:
    """Return the parsed address; a CommandError says what is wrong with it."""
    try:
        return parse_address(text, server=server)
    except AddressError as error:
        raise CommandError(one_line(str(error))) from error


def authorities(path: str) -> StreamContext:
    """Return the settings that trust `path`, a PEM file or a folder of them; a CommandError if unusable."""
    context = StreamContext(ca_file=path)
    try:
        client_context(context)
    except ValueError as error:
        text = one_line(str(error)).removeprefix("ca_file ")
        raise CommandError(f"--ca: {text}; give a file with PEM certificates") from error
    return context


def certificate(path: str, key: str | None) -> StreamContext:
    """Return a server's settings with the PEM files `path` and `key`; a CommandError if they do not fit."""
    for option, file in (("--certificate", path), ("--key", key)):
        try:
            if file is not None:
                open(file, "rb").close()
        except OSError as error:
            raise CommandError(f"{option}: cannot read {file}: {error.strerror}; give a PEM file") from error
    context = StreamContext(certificate=path, private_key=key)
    try:
        server_context(context)
    except ValueError as error:
        # The library's words for its own settings, in those of the command line.
        text = one_line(str(error)).replace("set private_key=", "give --key FILE")
        raise CommandError(f"--certificate: {text.replace(', or give an SSLContext as tls=', '')}") from error
    return context
