"""The command line as its users have it: a process of its own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import pty
import selectors
import signal
import socket
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import evsockets
from evsockets.cli import main

ROOT = Path(__file__).resolve().parents[2]
#: Where the package lies that is tested: an installation, or the checkout.
TESTED = Path(evsockets.__file__).parents[1]
#: Seconds after which a command hangs, as far as the tests are concerned.
HANGS = 120


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: ours, with the project importable and no engine prescribed."""
    values = {name: value for name, value in os.environ.items() if name != "EVSOCKETS_ENGINE"}
    path = os.pathsep.join(filter(None, [str(TESTED), values.get("PYTHONPATH", "")]))
    return {**values, "PYTHONPATH": path, "PYTHONWARNINGS": "error", "COLUMNS": "160", **more}


def clean_environment() -> dict[str, str]:
    """The environment without what concerns Python, this project or a compiler."""
    ours = ("PYTHON", "EVSOCKETS", "CFLAGS")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def run(
    *command: object, cwd: Path | None = None, clean: bool = False, input: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run any program to its end, in the folder `cwd`; `more` goes into its environment, which is ours, or
    `clean`: without what concerns Python, this project or a compiler."""
    return subprocess.run(
        [str(part) for part in command], env=clean_environment() | more if clean else environment(**more),
        cwd=cwd, input=input, capture_output=True, text=True, timeout=2 * HANGS, check=False,
    )  # fmt: skip


def run_command(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `evsockets` with `arguments` to its end; `more` goes into its environment."""
    return run(sys.executable, "-P", "-m", "evsockets", *arguments, **more)


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As `run_command`, in this process: for what is refused before anything runs."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main(arguments)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def run_python(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python code, as indented as it stands in a test, to its end; `more` goes into its environment."""
    return run(sys.executable, "-P", "-c", textwrap.dedent(code), *arguments, **more)


def run_on_terminal(*command: str, columns: int, **more: str) -> tuple[int, str]:
    """Run `command` on a terminal `columns` wide (0: unknown); the exit status, and all that went there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50 if columns else 0, columns))
    process = subprocess.Popen(
        command,
        env=environment(TERM="xterm", **more) | {"COLUMNS": str(columns or "")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                shown += os.read(ours, 65536)
    except OSError:  # nobody has the terminal open any more
        return process.wait(HANGS), shown.decode()
    finally:
        os.close(ours)
        process.kill() if process.poll() is None else None


@dataclass
class Serving:
    """A serving command at work: `url` is what it is bound to, `banner` its first line."""

    process: subprocess.Popen[str]
    banner: str

    @property
    def url(self) -> str:
        return self.banner.split()[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def refuses(self) -> bool:
        """Whether nobody listens on its port any more."""
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == errno.ECONNREFUSED

    def descriptors(self) -> int:
        """How many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait for the end; the exit status, and what went to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=HANGS)
        return self.process.returncode, errors


def serving(
    *arguments: str, descriptors: int | None = None, **more: str
) -> contextlib.AbstractContextManager[Serving]:
    """`evsockets` with `arguments`, from its banner on; ended and waited for at the end.

    `descriptors` is how many it may have open.
    """
    limited = [] if descriptors is None else ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
    return program(*limited, sys.executable, "-m", "evsockets", *arguments, **more)


def example(name: str, *arguments: str, **more: str) -> contextlib.AbstractContextManager[Serving]:
    """The program `name` of the documentation's examples."""
    return program(sys.executable, str(ROOT / "docs" / "examples" / f"{name}.py"), *arguments, **more)


@contextlib.contextmanager
def program(*command: str, **more: str) -> Iterator[Serving]:
    """Any program whose first line of output begins with the URL it serves."""
    process = subprocess.Popen(
        command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        # It may have much to complain about before anybody reads that.
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 1 << 20)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(HANGS), "no banner"
        banner = process.stdout.readline()
        if not banner:
            raise AssertionError(f"ended at once: {process.communicate(timeout=HANGS)[1]}")
        yield Serving(process, banner.strip())
    finally:
        process.kill() if process.poll() is None else None
        process.communicate(timeout=HANGS)
