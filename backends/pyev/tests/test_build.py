"""Where libev's headers are missing, the build says what to install; a wheel holds libev."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from support.command import clean_environment
from support.optional import library
from support.wheels import make_environment

HOME = Path(__file__).parent.parent


def copy(folder: Path) -> Path:
    """The sources, elsewhere."""
    leave = shutil.ignore_patterns("build", "*.so", "LICENSE.libev")
    return shutil.copytree(HOME, folder / "pyev", ignore=leave)


def test_without_headers_the_error_says_what_to_install(tmp_path: Path) -> None:
    library("Cython")
    library("setuptools")
    (tmp_path / "ev.h").write_text("#error no headers\n")
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext"],
        cwd=copy(tmp_path), env={**os.environ, "CFLAGS": f"-I{tmp_path}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    for package in ("libev-dev ", "libev-devel ", "Homebrew (brew install libev)"):
        assert package in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel is for Linux")
@pytest.mark.timeout(300)
def test_a_wheel_holds_libev_and_its_licence(tmp_path: Path) -> None:
    """As cibuildwheel makes it: what goes before the build, the build, the repair, a clean environment."""
    library("auditwheel")
    source = copy(tmp_path)
    before = tomllib.loads((source / "pyproject.toml").read_text())["tool"]["cibuildwheel"]["before-build"]
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    commands: list[list[object]] = [
        ["sh", "-c", before.replace("{package}", str(source))],
        [sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", tmp_path / "built", source],
        ["sh", "-c", f"{sys.executable} -m auditwheel repair -w repaired built/*.whl"],
    ]
    for command in commands:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path, env={**clean_environment(), "PATH": tools},
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "repaired").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("LICENSE.libev")]
        assert b"Redistribution and use" in archive.read(licence)
    python = make_environment(tmp_path / "clean", "--no-deps", "--no-index", wheel)
    code = """
import pyev
print(*{line.split()[-1] for line in open("/proc/self/maps") if "/libev" in line})
loop = pyev.Loop()
timer = loop.timer(0.0, 0.0, print, "fired")
timer.start()
print(loop.poll(60) == [("fired", pyev.EV_TIMER)])
"""
    done = subprocess.run(
        [python, "-c", code], env=clean_environment(), capture_output=True, text=True, check=False
    )
    libraries, works = done.stdout.splitlines()
    assert works == "True"
    assert [Path(path).is_relative_to(tmp_path / "clean") for path in libraries.split()] == [True]
