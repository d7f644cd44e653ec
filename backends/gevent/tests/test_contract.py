"""The gevent engine keeps the contract, on the loop that gevent is configured for."""

from __future__ import annotations

import os
import subprocess
import sys

import gevent
import pytest

from evsockets.testing import EngineContract
from evsockets_gevent import GeventEngine

_NATIVE = type(gevent.get_hub().loop).__module__ == "gevent.libev.corecext"

_LIBUV = "libuv" in type(gevent.get_hub().loop).__module__


# gevent's cffi loops print what a signal handler raises before they pass it on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestGevent(EngineContract):
    def make_engine(self) -> GeventEngine:
        return GeventEngine()

    @pytest.mark.skipif(not _NATIVE, reason="gevent's cffi loops lose what is raised inside their callbacks")
    def test_09_interrupts_under_load_lose_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().test_09_interrupts_under_load_lose_nothing(monkeypatch)

    @pytest.mark.skipif(_LIBUV, reason="libuv aborts the process when it cannot wait")
    def test_18_a_refused_wait_gets_out_of_poll(self) -> None:
        super().test_18_a_refused_wait_gets_out_of_poll()


@pytest.mark.skipif("GEVENT_LOOP" in os.environ, reason="this is the run with another loop")
@pytest.mark.parametrize("loop", ["libuv-cffi", "libev-cffi", "libev-cext"])
def test_the_other_loops_of_gevent(loop: str) -> None:
    if loop == "libev-cext" and _NATIVE:
        pytest.skip("this run has it already")
    environment = {**os.environ, "GEVENT_LOOP": loop}
    probe = "import gevent, sys; sys.exit(gevent.config.loop.__module__ + ' ' + str(gevent.get_hub().loop))"
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True)
    if "loop" not in found.stderr or "Traceback" in found.stderr:
        pytest.skip(f"this gevent has no {loop}")
    tests = os.path.dirname(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stdout + result.stderr
