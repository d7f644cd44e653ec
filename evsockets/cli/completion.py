"""`evsockets completion SHELL`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from .common import CommandError

_SHELLS = ("bash", "zsh", "fish")
_EPILOG = """
  evsockets completion bash >> ~/.bash_completion
  evsockets completion zsh > ~/.zfunc/_evsockets     # before compinit:
  fpath+=~/.zfunc
  evsockets completion fish > ~/.config/fish/completions/evsockets.fish
"""


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "completion",
        help="print a script that completes this command line in bash, zsh or fish",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; 0."""
    from . import build_parser

    try:
        import shtab
    except ImportError as error:
        raise CommandError("completion needs shtab: pip install 'evsockets[cli]'") from error
    parser = build_parser()
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar.startswith("FILE"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIRECTORY":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
