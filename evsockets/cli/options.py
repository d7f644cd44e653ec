"""The values of options, converted from text for the library; errors are reported in one line."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any, NoReturn

from .. import AddressError, StreamContext
from ..address import Address, parse_address
from ..text import one_line
from .common import CommandError

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[\w.\-:\[\]]+", re.ASCII)
_PLAIN_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", "'": b"'", '"': b'"'}


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, with a pointer to the help. Options are written in full. `command` is the
    one to whose users `habits` explains options of other programs."""

    command = ""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Print `message` on standard error and exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} (see '{self.prog} --help')\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            import difflib

            from .habits import command_for

            close = difflib.get_close_matches(str(value), map(str, action.choices or ()), 1)
            if action.dest == "command" and (meant := command_for(str(value))) is not None:
                close = [meant]
            error.message += "".join(f"; did you mean {one}?" for one in close)
            if action.nargs == "?" and action.option_strings and not close:
                error.message += f"; write what is no value of {action.option_strings[0]} before it"
            raise

    def refuse(self, words: list[str]) -> NoReturn:
        """`error` about unknown words, with the options that were probably meant."""
        hints = dict.fromkeys(
            self._hint(word.partition("=")[0] if word.startswith("-") else word)
            for before, word in zip(["", *words], words, strict=False)
            if word.startswith("-") or not before.startswith("-")  # else it is the value of that
        )
        self.error("; ".join([f"unknown: {' '.join(words)}", *filter(None, hints)]))

    def _hint(self, word: str) -> str | None:
        import difflib

        from .habits import instead

        close = difflib.get_close_matches(word, self._option_string_actions, 1, cutoff=0.7)
        return instead(word, self.command) or (f"did you mean {close[0]}?" if close else None)


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


def whole(text: str) -> int:
    """Return a whole number from 0 on. For argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is no count; give a whole number from 0 on")
    return int(text)


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


def kind(text: str) -> str:
    """Return the kind of outcome that is meant: an open port is a complete one. For argparse."""
    return "complete" if text == "open" else text


def sent(text: str) -> bytes | str:
    """Return the bytes of `text`, or "-" for those of standard input. For argparse."""
    return text if text == "-" else escaped_bytes(text)


def protocol(text: str) -> str:
    """Return a protocol with STARTTLS. For argparse."""
    from .starttls import PROTOCOLS  # here: its XML parser is for those who need it

    if text not in PROTOCOLS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(PROTOCOLS)}")
    return text


def origin(text: str) -> str:
    """Return an origin as browsers name it, such as "https://example.org", or "*". For argparse."""
    if text != "*" and text.endswith("/") and _ORIGIN.fullmatch(text.rstrip("/")):
        raise argparse.ArgumentTypeError(f"an origin has no slash at its end: give {text.rstrip('/')}")
    if text != "*" and not _ORIGIN.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no origin; give one such as https://host, or '*', and DIRECTORY before that"
        )
    return text


def path_of_http(text: str) -> str:
    """Return a path for a request line, with a slash in front. For argparse."""
    from .words import path_of

    try:
        return path_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def field(text: str) -> tuple[str, str]:
    """Return the name and the value of an HTTP field (RFC 9110, 5.5). For argparse."""
    name, colon, value = text.partition(":")
    if not (colon and _TOKEN.fullmatch(name) and value.isascii() and value.replace("\t", " ").isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r} is no field; write one such as 'Accept: text/html'")
    return name, value.strip()


def add_engine_option(parser: argparse._ActionsContainer) -> None:
    """Add `--engine`."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="the engine for readiness (see 'evsockets engines')",
    )


def parsed(text: str, *, server: bool = False) -> Address:
    """Return the parsed address; CommandError if it is malformed."""
    try:
        return parse_address(text, server=server)
    except AddressError as error:
        raise CommandError(one_line(str(error))) from error


def client_settings(
    ca: str | None, insecure: bool, server_name: str | None, proxy: str | None
) -> StreamContext | None:
    """Return a client's settings: whom to trust (`ca`: a PEM file or a folder of them), by which name, and
    through which proxy. None for the usual ones; a CommandError if they cannot be used."""
    if insecure and ca is not None:
        raise CommandError("--insecure trusts anybody, --ca some: give one of them")
    if not insecure and ca is None and server_name is None and proxy is None:
        return None
    try:
        StreamContext(proxy=proxy)
    except (ValueError, ImportError) as error:
        raise CommandError(f"--proxy: {one_line(str(error)).removeprefix('proxy: ')}") from error
    try:
        context = StreamContext(
            verify=False if insecure else None, ca_file=ca, server_hostname=server_name, proxy=proxy
        )
    except ValueError as error:
        raise CommandError(f"--server-name: {one_line(str(error))}") from error
    from ..transports.tls_context import client_context

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
    from ..transports.tls_context import server_context

    context = StreamContext(certificate=path, private_key=key)
    try:
        server_context(context)
    except ValueError as error:
        # The library's words for its own settings, in those of the command line.
        text = one_line(str(error)).replace("set private_key=", "give --key FILE")
        raise CommandError(f"--certificate: {text.replace(', or give an SSLContext as tls=', '')}") from error
    return context
