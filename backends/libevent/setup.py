"""Builds the extension module over the libevent_core that pkg-config finds."""

from __future__ import annotations

import shlex
import subprocess
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULE = "libevent_core"
INSTALL = (
    "install libevent's headers and pkg-config:\n"
    "  Debian, Ubuntu:  apt-get install libevent-dev pkg-config\n"
    "  Fedora, RHEL:    dnf install libevent-devel pkgconf-pkg-config\n"
    "  macOS:           brew install libevent pkg-config"
)


def ask(*options: str) -> list[str]:
    """What pkg-config answers; it ends the build, saying what to install, where there is no answer."""
    try:
        done = subprocess.run(["pkg-config", *options, MODULE], capture_output=True, text=True)
    except OSError:
        sys.exit(f"evsockets-libevent: pkg-config was not found; {INSTALL}")
    if done.returncode:
        why = done.stderr.strip() or f"pkg-config knows no {MODULE} of version 2.1 or later"
        sys.exit(f"evsockets-libevent: libevent was not found ({why}); {INSTALL}")
    return shlex.split(done.stdout)


class BuildExtension(build_ext):
    """Asks for libevent where something is compiled, and only there: packing the sources needs none."""

    def run(self) -> None:
        ask("--atleast-version=2.1")
        for extension in self.extensions:
            extension.extra_compile_args += ask("--cflags")
            extension.extra_link_args += ask("--libs")
        super().run()


loop = Extension(
    "evsockets_libevent._loop", ["evsockets_libevent/_loop.pyx"], depends=["evsockets_libevent/_loop.h"]
)
setup(ext_modules=cythonize([loop], language_level=3), cmdclass={"build_ext": BuildExtension})
