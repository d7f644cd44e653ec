"""The command line: `evsockets fetch | serve | echo | engines | demo | completion`."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence

from .. import __version__, _build
from ..text import one_line
from . import completion, demo, echo, engines, fetch, serve
from .common import CommandError, notice
from .options import Parser

__all__ = ["main"]

#: What the system says of a file that takes no more bytes: only output is written.
_UNWRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def build_parser() -> Parser:
    """Return the parser of the whole command line; each command module adds its own part."""
    parser = Parser(
        prog="evsockets",
        description="Many client and server sockets at once, in one thread, on interchangeable engines.",
        epilog="'evsockets COMMAND --help' explains one command; 'evsockets demo' shows the library at work.",
    )
    version = f"evsockets {__version__} ({_build.describe()})"
    parser.add_argument("-V", "--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    parser.set_defaults(parser=parser, run=lambda _: parser.error("give a COMMAND, such as fetch"))
    for module in (fetch, serve, echo, engines, demo, completion):
        module.register(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    0: success; 1: a failure on the network; 2: a wrong command line; 130: interrupted; 143: terminated;
    141: the reader of the output has closed it.
    `argv` is without the program's name (default: `sys.argv[1:]`).
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, open(nowhere, "w", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):  # whose locale may not have what a name has
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments, unknown = build_parser().parse_known_args(argv)
        if unknown:
            arguments.parser.refuse(unknown)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse: --help and usage errors
        return stop.code if isinstance(stop.code, int) else 2
    except CommandError as error:
        notice(f"evsockets: {one_line(str(error))}")
        return error.status
    except KeyboardInterrupt:
        notice("evsockets: interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say, and the interpreter
        # must not complain about it while it flushes at exit.
        _silence(1)
        return 128 + signal.SIGPIPE
    except OSError as error:  # a full disk, or what else the system has to say
        _silence(1)
        what = "write to standard output" if error.errno in _UNWRITTEN and not error.filename else "go on"
        cure = "; make room, or redirect the output" if error.errno in _UNWRITTEN else ""
        notice(f"evsockets: cannot {what}: {error.strerror or error}{cure}")
        return 1
    finally:
        try:
            sys.stderr.flush()
        except OSError:  # else the interpreter makes a status of its own of it
            _silence(2)


def _silence(descriptor: int) -> None:
    """Lead standard output (1) or standard error (2) nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
