"""The build hook (hatch_build.py), on a package of one small module: compiled, pure, without a compiler."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from support.command import run
from support.wheels import make_environment

ROOT = Path(__file__).parent.parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
NO_COMPILER = {"CC": "/bin/false"}

INIT = """\"\"\"A package of one module.\"\"\"

from . import _build as _build
from .small import Small as Small

__version__ = "0.1.0"
"""
SMALL = """class Small:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number

    def fail(self):
        raise RuntimeError("failed in the small module")
"""
DECLARATION = """cdef class Small:
    cdef public long number
    cpdef fail(self)
"""

pytestmark = [
    pytest.mark.skipif(
        sys.implementation.name != "cpython" or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        reason="this Python gets the sources only",
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler here"),
]


class Built(NamedTuple):
    status: int
    said: str
    wheels: list[Path]

    @property
    def names(self) -> set[str]:
        (wheel,) = self.wheels
        with zipfile.ZipFile(wheel) as archive:
            return {name for name in archive.namelist() if name.startswith("evsockets/")}


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that holds what the build needs."""
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return make_environment(tmp_path_factory.mktemp("builder"), *requires)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose package is one small module."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    package = folder / "evsockets"
    package.mkdir()
    shutil.copy(ROOT / "evsockets" / "_build.py", package)
    (package / "__init__.py").write_text(INIT)
    (package / "small.py").write_text(SMALL)
    (package / "small.pxd").write_text(DECLARATION)
    return folder


def build(builder: Path, project: Path, target: str, folder: Path, **environment: str) -> Built:
    command = [builder, "-m", "hatchling", "build", "-t", target, "-d", folder]
    ran = run(*command, cwd=project, clean=True, **environment)
    return Built(ran.returncode, ran.stdout + ran.stderr, sorted(folder.glob("*.whl")))


@pytest.fixture(scope="module")
def compiled(builder: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    built = build(builder, project, "wheel", tmp_path_factory.mktemp("wheel"), CFLAGS="-O0")
    assert built.status == 0, built.said
    return built


@pytest.fixture(scope="module")
def installed(compiled: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("installed"), "--no-deps", "--no-index", *compiled.wheels)


def ask(python: Path, code: str, **environment: str) -> str:
    ran = run(python, "-W", "error", "-c", code, cwd=python.parent, clean=True, **environment)
    return ran.stdout + ran.stderr


def test_the_wheel_is_compiled_where_it_can_be(compiled: Built) -> None:
    (wheel,) = compiled.wheels
    assert f"-cp3{sys.version_info.minor}-cp3{sys.version_info.minor}-" in wheel.name
    assert compiled.names == {
        "evsockets/__init__.py",
        "evsockets/_build.py",
        "evsockets/small.py",
        "evsockets/small.pxd",
        f"evsockets/small{SUFFIX}",
    }
    assert "slower" not in compiled.said


def test_building_leaves_nothing_beside_the_sources(compiled: Built, project: Path) -> None:
    left = {path.name for path in project.rglob("*") if path.suffix in (".c", ".so", ".html", ".o")}
    assert left == set()


def test_pure_when_asked(builder: Path, project: Path, tmp_path: Path) -> None:
    built = build(builder, project, "wheel", tmp_path, EVSOCKETS_PURE="1")
    assert (built.status, [wheel.name for wheel in built.wheels]) == (0, ["evsockets-0.1.0-py3-none-any.whl"])
    assert not any(name.endswith(".so") for name in built.names)
    assert "slower" not in built.said  # it was asked for


def test_no_compiler_is_a_pure_wheel_and_one_line(builder: Path, project: Path, tmp_path: Path) -> None:
    built = build(builder, project, "wheel", tmp_path, **NO_COMPILER)
    assert (built.status, [wheel.name for wheel in built.wheels]) == (0, ["evsockets-0.1.0-py3-none-any.whl"])
    said = [line for line in built.said.splitlines() if ".whl" not in line]
    assert len(said) == 1
    assert said[0].startswith("evsockets becomes a pure Python wheel, which is slower: ")
    assert "/bin/false" in said[0]


@pytest.mark.parametrize("why", ["no compiler", "a declaration that is wrong"])
def test_a_compiled_wheel_or_an_error(why: str, builder: Path, project: Path, tmp_path: Path) -> None:
    environment = {"EVSOCKETS_PURE": "0"}
    if why == "no compiler":
        environment |= NO_COMPILER
    else:
        project = shutil.copytree(project, tmp_path / "project")
        (project / "evsockets" / "small.pxd").write_text(DECLARATION.replace("long", "Nothing"))
    built = build(builder, project, "wheel", tmp_path / "wheels", **environment)
    assert (built.status, built.wheels) == (1, [])
    assert "EVSOCKETS_PURE=0 and the wheel cannot be compiled" in built.said
    # All that the compiler had to say, too.
    assert ("/bin/false" if why == "no compiler" else "'Nothing' is not a type identifier") in built.said


def test_other_values_are_refused(builder: Path, project: Path, tmp_path: Path) -> None:
    built = build(builder, project, "wheel", tmp_path, EVSOCKETS_PURE="yes")
    assert (built.status, built.wheels) == (1, [])
    assert "EVSOCKETS_PURE must be 0 (compiled, or an error) or 1 (pure), not 'yes'" in built.said


def test_the_sdist_holds_the_declarations_and_nothing_built(
    builder: Path, project: Path, tmp_path: Path
) -> None:
    assert build(builder, project, "sdist", tmp_path).status == 0
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "evsockets/small.py", "evsockets/small.pxd"} <= names
    assert not [name for name in names if name.endswith((".c", ".so"))]


def test_the_sources_annotated(builder: Path, project: Path, tmp_path: Path) -> None:
    out = os.path.relpath(tmp_path, project)  # "..", above all
    ran = run(builder, "hatch_build.py", out, cwd=project, clean=True, CFLAGS="-O0")
    assert ran.returncode == 0, ran.stderr
    page = Path(ran.stdout.splitlines()[-1])
    assert page.name == "small.html"
    assert "failed in the small module" in page.read_text()


TELL = "import evsockets; print(evsockets.small.__file__, evsockets._build.describe(), sep='\\n')"


def test_an_installation_runs_compiled(installed: Path) -> None:
    file, described = ask(installed, TELL).splitlines()
    assert file.endswith(f"small{SUFFIX}")
    assert described == "compiled"


def test_the_same_installation_runs_its_sources(installed: Path) -> None:
    file, described = ask(installed, TELL, EVSOCKETS_PURE="1").splitlines()
    assert file.endswith("small.py")
    assert described == "pure Python, by EVSOCKETS_PURE=1"


@pytest.mark.parametrize("pure", ["", "1"], ids=["compiled", "pure"])
def test_a_traceback_shows_file_and_line_of_the_source(pure: str, installed: Path) -> None:
    said = ask(installed, "import evsockets; evsockets.Small(1).fail()", EVSOCKETS_PURE=pure)
    assert 'evsockets/small.py", line 8, in ' in said
