"""The wheel: what is in it, that it works alone, and that the project speaks only of itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: object, **environment: str) -> str:
    # Nothing of this checkout may be found by accident.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "EVSOCKETS"))}
    answer = subprocess.run(
        [str(part) for part in command],
        env=clean | environment,
        capture_output=True,
        text=True,
        cwd=Path(sys.executable).parent,
        timeout=110,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, so that building leaves nothing in the checkout.
    source = tmp_path_factory.mktemp("source") / "evsockets"
    leave = shutil.ignore_patterns(
        ".git", ".tox", ".venv", "__pycache__", "dist", "build", ".*_cache", "_build"
    )
    shutil.copytree(ROOT, source, ignore=leave)
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-deps", "--no-index", wheel)
    return folder / "bin"


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        entry_points = archive.read(next(n for n in names if n.endswith("/entry_points.txt"))).decode()
        requires = re.findall(r"^Requires-Dist: (.*)$", archive.read(metadata).decode(), re.MULTILINE)
    assert "evsockets/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"evsockets"}
    assert "evsockets = evsockets.cli:main" in entry_points
    assert "selectors = evsockets.engines.stdlib:SelectorsEngine" in entry_points
    assert [line for line in requires if "extra ==" not in line] == []


def test_extras_name_the_distributions() -> None:
    extras = PROJECT["optional-dependencies"]
    assert extras["libev"] == ["evsockets-libev"]
    assert extras["gevent"] == ["evsockets-gevent"]
    assert set(extras) == {"cli", "signals", "libev", "gevent"}
    for name in ("libev", "gevent"):
        backend = tomllib.loads((ROOT / "backends" / name / "pyproject.toml").read_text())["project"]
        assert backend["name"] == f"evsockets-{name}"
        assert name in backend["entry-points"]["evsockets.engines"]


def test_works_alone(alone: Path) -> None:
    code = "import evsockets; print(evsockets.__version__, evsockets.create_engine().name)"
    assert run(alone / "python", "-W", "error", "-c", code).split() == [PROJECT["version"], "selectors"]
    assert "selectors" in run(alone / "evsockets", "engines")
    assert "selectors" in run(alone / "python", "-m", "evsockets", "engines")


def test_demo_works_alone(alone: Path) -> None:
    printed = run(alone / "evsockets", "demo")
    assert "selectors" in printed
    # Without the extra there is no certificate authority: it says what it left out and how to get it.
    assert "evsockets[cli]" in printed


def test_what_a_contract_needs_is_named(alone: Path) -> None:
    code = """
try:
    from evsockets.testing import EngineContract
except ImportError as error:
    print(error)
"""
    assert run(alone / "python", "-c", code) == "EngineContract needs pytest: pip install pytest\n"


def test_every_module_can_be_imported_alone(alone: Path) -> None:
    code = """
import importlib, pkgutil, evsockets
optional = {"pytest", "hypothesis", "rich", "trustme", "blinker"}
for module in pkgutil.walk_packages(evsockets.__path__, "evsockets."):
    if module.name == "evsockets.__main__":
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert error.name in optional, error
        assert module.name.startswith(("evsockets.cli", "evsockets.testing")), module.name
"""
    run(alone / "python", "-W", "error", "-c", code)


def project_files() -> Iterator[Path]:
    for pattern in ("*.py", "*.md", "*.toml", "*.ini", "*.pyx", "*.pyi", "*.cfg", "*.txt"):
        for path in ROOT.rglob(pattern):
            parts = path.relative_to(ROOT).parts
            if not any(part.startswith(".") or part in ("_build", "build", "dist") for part in parts):
                yield path


def test_the_house_speaks_only_of_itself() -> None:
    """No paths of a machine it was written on, and nothing about how it came to be."""
    forbidden = re.compile(
        "/root" "/|/tmp" "/hq|/work" "/|/home" r"/\w+/|\b(Chat" r"GPT|Cl" r"aude|LL" r"M)\b|\bissue " r"#?\d"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


def test_versions_agree() -> None:
    import evsockets

    assert evsockets.__version__ == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["libev", "gevent"])
def test_backends_build(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    shutil.copytree(ROOT / "backends" / name, source, ignore=shutil.ignore_patterns("__pycache__", "build"))
    run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", tmp_path / "wheel", source)
    (built,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        entry_points = next(n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        assert f"{name} = evsockets_{name}" in archive.read(entry_points).decode()
