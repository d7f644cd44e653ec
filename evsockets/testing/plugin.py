"""A pytest plugin: `--engines` selects the engines to test on, and a table of results by engine ends the run.

Switched on with `pytest -p evsockets.testing.plugin`, or by `pytest_plugins = ["evsockets.testing.plugin"]`
in the topmost conftest. A test that asks for the fixture `engine` (a name) or `executor` runs once on each
engine; subclasses of `EngineContract` and `EngineEndToEnd` are counted under their engine as well.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .. import __version__, _build
from ..engines.discovery import announce

if TYPE_CHECKING:
    from ..executor import RequestExecutor

USUAL_ENGINES = ("selectors", "libev", "libevent", "gevent")
_OUTCOMES = ("passed", "failed", "skipped")
_PARAMETER = "_engine_to_test_on"
_wanted = pytest.StashKey[list[str]]()
_scores = pytest.StashKey[dict[str, Counter[str]]]()
_names = pytest.StashKey[dict[type, str]]()  # what suites without an `engine_name` are counted under


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        help="engines to test on, with commas: name, name:variant, or package.module:Class for one that is "
        "not installed; a missing one fails. Default: EVSOCKETS_TEST_ENGINES, else the usual ones, skipping "
        "those not installed.",
    )


def pytest_configure(config: pytest.Config) -> None:
    text = config.getoption("--engines") or os.environ.get("EVSOCKETS_TEST_ENGINES") or ""
    scores: dict[str, Counter[str]] = defaultdict(Counter)
    config.stash[_scores] = scores
    config.stash[_names] = {}
    config.stash[_wanted] = [_announced(word) for word in text.replace(",", " ").split()]


def pytest_report_header(config: pytest.Config) -> str:
    return f"evsockets: {__version__}, {_build.describe()}"


def _announced(word: str) -> str:
    """The engine's name; a `package.module:Class` is made known under the name that the class gives."""
    if not word.partition(":")[2][:1].isupper():  # variants are in small letters, classes are not
        return word
    try:
        return announce(word)
    except Exception as error:
        raise pytest.UsageError(f"--engines: {word} cannot be loaded: {error!r}") from error


def demanded(config: pytest.Config) -> list[str]:
    """The engines named by `--engines` or the environment; empty without either."""
    return config.stash[_wanted]


def why_not(name: str) -> str | None:
    """Why an engine cannot be tested on here; None if it can."""
    from .. import EngineUnavailableError, create_engine

    try:
        # Made and used once: what an engine's library opens for the whole process (gevent's hub) is
        # there before any test counts descriptors.
        made = create_engine(name)
        made.poll(0)
        made.close()
    except EngineUnavailableError as error:
        return str(error)
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _PARAMETER in metafunc.fixturenames:  # not where somebody has an `engine` of their own
        engines = demanded(metafunc.config) or USUAL_ENGINES
        metafunc.parametrize(_PARAMETER, engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _engine_to_test_on(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, _engine_to_test_on: str) -> str:
    """The name of the engine to test on; each test that asks for it runs on every engine."""
    name = _engine_to_test_on
    reason = why_not(name)
    if reason is not None:
        if name in demanded(request.config):
            pytest.fail(f"engine {name} must be here and is not: {reason}", pytrace=False)
        pytest.skip(f"engine {name}: {reason}")
    return name


@pytest.fixture
def executor(engine: str) -> Iterator[RequestExecutor]:
    """A fresh executor on the engine under test, closed at the end."""
    from .. import RequestExecutor

    with RequestExecutor(engine) as made:
        yield made


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the suites of engines that `--engines` does not name."""
    wanted = demanded(config)
    if not wanted:
        return
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        name = getattr(getattr(item, "cls", None), "engine_name", None)
        chosen = name is None or any(name == one or name.startswith(f"{one}:") for one in wanted)
        (kept if chosen else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report: pytest.TestReport = yield
    if report.when == "call" or report.outcome != "passed":
        name = _engine_of(item)
        if name is not None:
            item.config.stash[_scores][name][report.outcome] += 1
    return report


def _engine_of(item: pytest.Item) -> str | None:
    """The name a test is counted under; None for one that concerns no engine."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and _PARAMETER in callspec.params:
        return str(callspec.params[_PARAMETER])
    kind = getattr(item, "cls", None)
    if kind is None or not hasattr(kind, "make_engine") or not hasattr(kind, "engine_name"):
        return None
    if kind.engine_name is not None:
        return str(kind.engine_name)
    names = item.config.stash[_names]
    if kind not in names:
        try:
            with kind().make_engine() as made:
                names[kind] = f"{made.name} ({kind.__name__})"
        except (Exception, pytest.skip.Exception):  # the tests say why
            names[kind] = kind.__name__
    return names[kind]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    scores = config.stash[_scores]
    if scores:
        terminalreporter.section(f"engines ({_build.describe()})")
        width = max(map(len, scores))
        for name, counts in scores.items():
            line = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _OUTCOMES)
            terminalreporter.write_line(f"{name:{width}}  {line}")
