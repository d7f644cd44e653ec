"""Engines to test on, a certificate authority, and a watch over leaked descriptors."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from support.certificates import Authority

if TYPE_CHECKING:
    from evsockets import RequestExecutor

USUAL_ENGINES = ("selectors", "libev", "gevent")
_engines: dict[str, str] = {}
_scores: dict[str, Counter[str]] = defaultdict(Counter)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        help="engines to test on, with commas (name or name:variant); a missing one fails. "
        "Default: EVSOCKETS_TEST_ENGINES, else the usual ones, skipping those not installed.",
    )


def _demanded(config: pytest.Config) -> list[str]:
    text = config.getoption("--engines") or os.environ.get("EVSOCKETS_TEST_ENGINES") or ""
    return text.replace(",", " ").split()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        engines = _demanded(metafunc.config) or USUAL_ENGINES
        metafunc.parametrize("engine", engines, indirect=True, scope="session")


def _why_not(name: str) -> str | None:
    from evsockets import EngineUnavailableError, create_engine

    try:
        # Made and used once: what an engine's library opens for the whole process (gevent's hub) is
        # there before any test counts descriptors.
        made = create_engine(name)
        made.poll(0)
        made.close()
    except EngineUnavailableError as error:
        return str(error)
    return None


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the engine to test on; each test that asks for it runs on every engine."""
    name: str = request.param
    reason = _why_not(name)
    if reason is not None:
        if name in _demanded(request.config):
            pytest.fail(f"engine {name} must be here and is not: {reason}", pytrace=False)
        pytest.skip(f"engine {name}: {reason}")
    return name


@pytest.fixture(scope="session")
def gevent_is_tested(pytestconfig: pytest.Config) -> None:
    """For tests of the gevent engine alone: elsewhere (the libev engine runs on gevent's binding) it need
    not be there."""
    demanded = _demanded(pytestconfig)
    if demanded and not any(name.partition(":")[0] == "gevent" for name in demanded):
        pytest.skip("the gevent engine is not among those to test")
    reason = _why_not("gevent")
    if reason is not None:
        if demanded:
            pytest.fail(f"engine gevent must be here and is not: {reason}", pytrace=False)
        pytest.skip(f"engine gevent: {reason}")


@pytest.fixture
def executor(engine: str) -> Iterator[RequestExecutor]:
    """A fresh executor on the engine under test, closed at the end."""
    from evsockets import RequestExecutor

    with RequestExecutor(engine) as made:
        yield made


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of this run."""
    return Authority(tmp_path_factory.mktemp("ca"))


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of the listing itself
            continue
    return found


@pytest.fixture(autouse=True)
def no_descriptor_leak(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test no descriptor is open that was not open before."""
    if not os.path.isdir("/proc/self/fd"):
        yield
        return
    before = _descriptors()
    yield
    after = _descriptors()
    if len(after) > len(before):
        gc.collect()
        after = _descriptors()
    new = {fd: what for fd, what in after.items() if before.get(fd) != what}
    if "gevent" in sys.modules:
        # A hub made by this test is gevent's for the rest of the process.
        new = {fd: what for fd, what in new.items() if "[eventpoll]" not in what and "[eventfd]" not in what}
    if len(after) > len(before) and new:
        listing = ", ".join(f"{fd} -> {what}" for fd, what in sorted(new.items()))
        pytest.fail(f"descriptors left open: {listing}", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "engine" in callspec.params:
            _engines[item.nodeid] = callspec.params["engine"]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.nodeid in _engines and (report.when == "call" or report.outcome != "passed"):
        _scores[_engines[report.nodeid]][report.outcome] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _scores:
        terminalreporter.section("engines")
        for name, counts in _scores.items():
            line = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))
            terminalreporter.write_line(f"{name:10} {line}")


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A loopback port that refuses connections: bound for the test's time, never listening."""
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
