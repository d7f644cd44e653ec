"""The wheel: what is in it, that it works alone, and that the project speaks only of itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from evsockets import _build
from support.command import run as command_run
from support.wheels import make_environment

ROOT = Path(__file__).parent.parent
KINDS = {".py", ".pxd", ".pyx", ".so", ".typed", ""}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Should the wheel have to be compiled first.
pytestmark = pytest.mark.timeout(300)


def run(*command: object, **environment: str) -> str:
    # Nothing of this checkout may be found by accident.
    answer = command_run(*command, cwd=Path(sys.executable).parent, clean=True, **environment)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that EVSOCKETS_TEST_WHEEL names, as `.ci/run` does; else one built here, in a hurry."""
    given = os.environ.get("EVSOCKETS_TEST_WHEEL")
    if given:
        return Path(given)
    # A copy, so that building leaves nothing in the checkout.
    source = tmp_path_factory.mktemp("source") / "evsockets"
    leave = shutil.ignore_patterns(
        ".git", ".tox", ".venv*", "__pycache__", "dist", "build", ".*_cache", "_build"
    )
    shutil.copytree(ROOT, source, ignore=leave)
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", folder, source, CFLAGS="-O0")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel and nothing else."""
    return make_environment(tmp_path_factory.mktemp("alone"), "--no-deps", "--no-index", wheel).parent


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        entry_points = archive.read(next(n for n in names if n.endswith("/entry_points.txt"))).decode()
        described = archive.read(metadata).decode()
    requires = re.findall(r"^Requires-Dist: (.*)$", described, re.MULTILINE)
    assert "evsockets/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"evsockets"}
    assert {Path(name).suffix for name in names if name.startswith("evsockets/")} <= KINDS
    # The sources stand beside their extension modules, and run in their place by EVSOCKETS_PURE=1.
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "evsockets").rglob("*.py")}
    assert sources <= set(names)
    extensions = {name.partition(".")[0] for name in names if name.endswith(".so")}
    declared = {
        str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "evsockets").rglob("*.p[xy][dx]")
    }
    assert extensions == (set() if wheel.name.endswith("-none-any.whl") else declared)
    assert "evsockets = evsockets.cli:main" in entry_points
    assert "selectors = evsockets.engines.stdlib:SelectorsEngine" in entry_points
    assert [line for line in requires if "extra ==" not in line] == []
    # An index shows the README, and has none of the files it links to.
    assert "## Quick start" in described and "docs/tutorial.md: " in described
    assert re.findall(r"\]\((?!https?:)[^)]*\)", described) == []


def test_extras_name_the_distributions() -> None:
    extras = PROJECT["optional-dependencies"]
    assert [Requirement(each).name for each in extras["libev"]] == ["evsockets-libev", "evsockets-pyev"]
    assert extras["libevent"] == ["evsockets-libevent"]
    assert extras["gevent"] == ["evsockets-gevent"]
    backends = {"libev", "libevent", "gevent"}
    assert set(extras) == {"cli", "signals", "metrics", "http", "proxy", "dask"} | backends
    for name in ("libev", "libevent", "gevent"):
        backend = tomllib.loads((ROOT / "backends" / name / "pyproject.toml").read_text())["project"]
        assert backend["name"] == f"evsockets-{name}"
        assert name in backend["entry-points"]["evsockets.engines"]


def test_the_extra_libev_brings_pyev_where_its_wheels_are() -> None:
    """What cibuildwheel is told to build, against the marker that has pip look for it."""
    asked = Requirement(PROJECT["optional-dependencies"]["libev"][1])
    built = tomllib.loads((ROOT / "backends" / "pyev" / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    versions = [f"3.{tag.removeprefix('cp3').removesuffix('-*')}" for tag in built["build"].split()]
    machines = {"linux": built["linux"]["archs"], "darwin": built["macos"]["archs"], "win32": []}
    for version in ("3.11", "3.12", "3.13", "3.14", "3.15"):
        for system, there in machines.items():
            for machine in ("x86_64", "aarch64", "arm64", "riscv64"):
                for kind in ("CPython", "PyPy"):
                    wanted = version in versions and machine in there and kind == "CPython"
                    where = {
                        "python_version": version, "sys_platform": system, "platform_machine": machine,
                        "platform_python_implementation": kind,
                    }  # fmt: skip
                    assert asked.marker is not None and asked.marker.evaluate(where) is wanted, where
    engine = tomllib.loads((ROOT / "backends" / "libev" / "pyproject.toml").read_text())["project"]
    assert any(Requirement(each).name == "gevent" for each in engine["dependencies"])


def test_works_alone(alone: Path) -> None:
    code = "import evsockets; print(evsockets.__version__, evsockets.create_engine().name)"
    assert run(alone / "python", "-W", "error", "-c", code).split() == [PROJECT["version"], "selectors"]
    assert "selectors" in run(alone / "evsockets", "engines")
    assert "selectors" in run(alone / "python", "-m", "evsockets", "engines")


def test_compiled_and_by_its_sources(wheel: Path, alone: Path) -> None:
    if wheel.name.endswith("-none-any.whl"):
        assert run(alone / "evsockets", "--version").endswith(" (pure Python)\n")
        pytest.skip("the wheel is pure here")
    version = f"evsockets {PROJECT['version']}"
    assert run(alone / "evsockets", "--version") == f"{version} (compiled)\n"
    pure = run(alone / "evsockets", "--version", EVSOCKETS_PURE="1")
    assert pure == f"{version} (pure Python, by EVSOCKETS_PURE=1)\n"
    build = json.loads(run(alone / "evsockets", "engines", "--json"))["build"]
    assert build == {"compiled": True, "why_pure": None}
    build = json.loads(run(alone / "evsockets", "engines", "--json", EVSOCKETS_PURE="1"))["build"]
    assert build == {"compiled": False, "why_pure": "EVSOCKETS_PURE=1"}
    assert "selectors" in run(alone / "evsockets", "demo", EVSOCKETS_PURE="1")


def test_this_run_is_on_the_build_asked_for() -> None:
    """EVSOCKETS_PURE=0, as in `.ci/run`, is no request for a wheel only: the tests have to run on it."""
    asked = os.environ.get("EVSOCKETS_PURE", "")
    assert not asked or _build.is_compiled() == (asked == "0")


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
optional = {"pytest", "hypothesis", "rich", "trustme", "blinker", "cryptography", "httptools"}
for module in pkgutil.walk_packages(evsockets.__path__, "evsockets."):
    if module.name == "evsockets.__main__":
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        assert (error.name or error.__cause__.name) in optional, error
        assert module.name.startswith(("evsockets.cli", "evsockets.testing", "evsockets.http")), module.name
"""
    run(alone / "python", "-W", "error", "-c", code)


def project_files() -> Iterator[Path]:
    for pattern in ("*.py", "*.md", "*.toml", "*.ini", "*.pyx", "*.pxd", "*.pyi", "*.cfg", "*.txt"):
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


@pytest.mark.parametrize("name", ["libev", "libevent", "gevent"])
def test_backends_build(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    shutil.copytree(ROOT / "backends" / name, source, ignore=shutil.ignore_patterns("__pycache__", "build"))
    run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", tmp_path / "wheel", source)
    (built,) = (tmp_path / "wheel").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        entry_points = next(n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        assert f"{name} = evsockets_{name}" in archive.read(entry_points).decode()
