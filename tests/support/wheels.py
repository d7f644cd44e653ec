"""Environments of their own for what is built and installed, in which nothing of this checkout is found."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

from support.command import run


def make_environment(folder: Path, *install: object) -> Path:
    """Make a virtual environment that holds what pip's arguments say; gives its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "-q", "--python", python, "install", *install]
    done = run(*command, cwd=folder, clean=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return python
