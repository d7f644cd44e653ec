"""Environments of their own for what is built and installed, in which nothing of this checkout is found."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path


def clean_environment() -> dict[str, str]:
    """The environment without what concerns Python, this project or a compiler."""
    ours = ("PYTHON", "EVSOCKETS", "CFLAGS")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def make_environment(folder: Path, *install: object) -> Path:
    """Make a virtual environment that holds what pip's arguments say; gives its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "-q", "--python", python, "install", *install]
    done = subprocess.run(
        [str(part) for part in command],
        env=clean_environment(),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python
