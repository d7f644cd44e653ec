"""The command line: `evsockets fetch | serve | echo | engines | demo`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from . import demo, echo, engines, fetch, serve
from .common import CommandError, one_line

__all__ = ["main"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command module adds its own part."""
    parser = argparse.ArgumentParser(
        prog="evsockets",
        description="Many client and server sockets at once, in one thread, on interchangeable engines.",
        epilog="'evsockets COMMAND --help' explains one command; 'evsockets demo' shows it all at work.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for module in (fetch, serve, echo, engines, demo):
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    0: all went well; 1: something failed on the network; 2: the command line was wrong; 130: interrupted.
    `argv` is without the program's name (default: `sys.argv[1:]`).
    """
    try:
        arguments = build_parser().parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse: --help and usage errors
        return stop.code if isinstance(stop.code, int) else 2
    except CommandError as error:
        print(f"evsockets: {one_line(str(error))}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("evsockets: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say, and the interpreter
        # must not complain about it while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
