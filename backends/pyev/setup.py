"""Builds pyev's one extension module, or says which package holds the headers that are missing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.errors import CompileError
except ImportError:  # pragma: no cover
    from distutils.errors import CompileError

MISSING = """
pyev needs the headers of libev (ev.h) and a C compiler, and cannot use them here. Install

    libev-dev     on Debian and Ubuntu (apt install libev-dev gcc)
    libev-devel   on Fedora and its kin (dnf install libev-devel gcc)
    libev         from Homebrew (brew install libev)

and try again. Elsewhere CFLAGS=-I... and LDFLAGS=-L... say where libev is.
"""

PREFIXES = [
    prefix for prefix in map(Path, ["/opt/homebrew", "/usr/local"]) if (prefix / "include" / "ev.h").exists()
]


class Build(build_ext):
    """`build_ext` that looks for libev first."""

    def build_extensions(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / "probe.c"
            probe.write_text("#include <ev.h>\nint main(void) { return ev_version_major() == 0; }\n")
            try:
                self.compiler.compile(
                    [os.fspath(probe)], output_dir=folder, include_dirs=self.extensions[0].include_dirs
                )
            except CompileError:
                raise SystemExit(MISSING) from None
        super().build_extensions()


setup(
    ext_modules=cythonize(
        [
            Extension(
                "pyev._core",
                ["pyev/_core.pyx"],
                libraries=["ev"],
                include_dirs=[str(prefix / "include") for prefix in PREFIXES],
                library_dirs=[str(prefix / "lib") for prefix in PREFIXES],
            )
        ],
        build_dir="build",
    ),
    cmdclass={"build_ext": Build},
)
