"""What the build adds: the README as package indexes show it, and the hot part of the library compiled.

`python hatch_build.py FOLDER` compiles into FOLDER and annotates each source as HTML: yellow is untyped.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PACKAGE = "evsockets"
# Types are what the declarations say, not the annotations; functions look like Python's to `inspect`.
DIRECTIVES = {"language_level": 3, "annotation_typing": False, "binding": True}
# Quick and small: no debug information. CFLAGS in the environment come after them.
FLAGS = ["-O2", "-g0"]
PROBE = "#include <Python.h>\nPyObject *PyInit_probe(void) { return NULL; }\n"


class ReadmeHook(MetadataHookInterface):
    """Leaves the text of relative links and takes the links away: on an index they would lead nowhere."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = re.sub(r"\[([^\]]+)\]\((?!\w+:)[^)]*\)", r"\1", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


class CompileHook(BuildHookInterface[Any]):
    """Adds the extension modules for this Python to the wheel.

    EVSOCKETS_PURE=1 leaves them out. Where they cannot be built the wheel is pure, and one line says so;
    with EVSOCKETS_PURE=0 that is an error.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        wanted = os.environ.get("EVSOCKETS_PURE", "")
        if wanted not in ("", "0", "1"):
            raise ValueError(f"EVSOCKETS_PURE must be 0 (compiled, or an error) or 1 (pure), not {wanted!r}")
        if version == "editable" or wanted == "1":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="evsockets-build-")
        folder = Path(self._folder.name)
        reason = why_pure() or self._compile(folder)
        if reason is None:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            library = folder / "lib"
            for path in library.rglob("*"):
                if path.is_file():
                    build_data["force_include"][str(path)] = str(path.relative_to(library))
        elif wanted == "0":
            raise RuntimeError(f"EVSOCKETS_PURE=0 and the wheel cannot be compiled:\n{reason}")
        else:
            why = reason.splitlines()[-1]
            self.app.display_warning(f"{PACKAGE} becomes a pure Python wheel, which is slower: {why}")

    def _compile(self, folder: Path) -> str | None:
        """Compile in a process of its own, whose output is shown only if it counts; why not, if it fails."""
        command = [sys.executable, str(Path(self.root, "hatch_build.py")), "--no-html", str(folder)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode == 0:
            return None
        return (ran.stdout + ran.stderr).strip() or f"the compiler's process ended with {ran.returncode}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def why_pure() -> str | None:
    """Why this Python gets the sources only, compiler or not; None if it does not."""
    if platform.python_implementation() != "CPython":
        return f"{platform.python_implementation()} runs the sources faster than extension modules"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "the extension modules are not for free-threaded Python"
    return None


def sources() -> list[Path]:
    """What is compiled: each module with a declaration (.pxd) beside it, and each that is Cython."""
    package = Path(PACKAGE)
    found = {path.with_suffix(".py") for path in package.rglob("*.pxd")} | set(package.rglob("*.pyx"))
    return sorted(path for path in found if path.exists())


def compile_package(folder: Path, *, annotate: bool) -> None:
    """Compile what the working directory holds; the extension modules are in `folder`/lib afterwards."""
    from Cython.Build import cythonize
    from setuptools import Extension

    workers = os.cpu_count() or 1
    probe = folder / "probe.c"  # whether there is a compiler shows before a minute has gone into C sources
    probe.write_text(PROBE)
    build([Extension("probe", [str(probe)])], folder, folder / "probe", workers)
    extensions = cythonize(
        [
            # Relative names: tracebacks hold them, and find the sources wherever the package is installed.
            Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=FLAGS)
            for path in sources()
        ],
        nthreads=workers,
        build_dir=str(folder / "c"),
        compiler_directives=DIRECTIVES,
        annotate=annotate,
        quiet=not annotate,
    )
    build(extensions, folder, folder / "lib", workers)


def build(extensions: list[Any], folder: Path, library: Path, workers: int) -> None:
    """Build the extension modules into `library`."""
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    for extension in extensions:
        extension.extra_compile_args += os.environ.get("CFLAGS", "").split()
    command = build_ext(Distribution({"name": PACKAGE, "ext_modules": extensions}))
    command.build_lib = str(library)
    command.build_temp = str(folder / "objects")
    command.parallel = workers
    command.ensure_finalized()
    command.run()


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the hot part of the library into a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-html", action="store_true", help="leave out the annotated sources")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()  # some build steps take a path with ".." apart
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(Path(__file__).parent)
    compile_package(folder, annotate=not arguments.no_html)
    if not arguments.no_html:
        for path in sorted((folder / "c").rglob("*.html")):
            print(path)


if __name__ == "__main__":
    main()
