"""The libev engine keeps the contract, on each binding and every back end the binding offers."""

from __future__ import annotations

import os
import sys
import types
from unittest.mock import patch

import pytest

from evsockets.engines import READ, available_engines, create_engine
from evsockets.errors import EngineUnavailableError, UnsupportedOperationError
from evsockets.testing import EngineContract
from evsockets_libev import LibevEngine, bindings
from support.optional import library


class OnLibev(EngineContract):
    binding: type[bindings.Binding]
    module: str
    variant: str | None = None

    def make_engine(self) -> LibevEngine:
        library(self.module)
        if self.variant is not None and self.variant not in self.binding.variants():
            pytest.skip(f"this libev has no {self.variant}")
        try:
            with patch("evsockets_libev.engine.find_binding", lambda: self.binding):
                engine = LibevEngine(self.variant)
        except ValueError as error:
            pytest.skip(str(error))
        assert isinstance(engine._loop, self.binding)
        return engine


class TestPyev(OnLibev):
    binding, module = bindings.Pyev, "pyev"


class TestPyevOnPoll(TestPyev):
    variant = "poll"


class TestPyevOnSelect(TestPyev):
    variant = "select"


class TestGeventCore(OnLibev):
    binding, module = bindings.GeventCore, "gevent.libev.corecext"


class TestGeventCoreOnPoll(TestGeventCore):
    variant = "poll"


class TestGeventCoreOnSelect(TestGeventCore):
    variant = "select"


def test_says_what_it_runs_on() -> None:
    with LibevEngine() as engine:
        assert engine.name == "libev"
        assert engine.binding in ("pyev", "gevent.libev.corecext")
        assert engine.binding == os.environ.get("EVSOCKETS_TEST_BINDING", engine.binding)
        assert engine.backend in LibevEngine.variants()


def test_ours_is_preferred_where_it_is() -> None:
    pyev = library("pyev")
    assert hasattr(pyev.Loop, "poll") and bindings.find_binding() is bindings.Pyev


def test_is_found_by_name() -> None:
    with create_engine("libev:poll") as engine:
        assert isinstance(engine, LibevEngine)
        assert engine.backend == "poll"
        with pytest.raises(UnsupportedOperationError):
            engine.fileno()


def test_unknown_back_end_names_the_known() -> None:
    with pytest.raises(ValueError, match="epoll, poll, select"):
        LibevEngine("iocp")
    with pytest.raises(EngineUnavailableError, match="did you mean 'epoll'"):
        create_engine("libev:epol")


def test_io_uring_is_listed_and_refused_with_its_reason() -> None:
    """It would lose events and end the process; the contract's promises 13 and 14 are what it breaks."""
    if "io_uring" not in LibevEngine.variants():
        pytest.skip("this libev was built without it")
    with pytest.raises(EngineUnavailableError, match="more than 64.*libev:epoll"):
        create_engine("libev:io_uring")
    assert "64" in (available_engines()["libev:io_uring"] or "")


def test_what_is_not_there_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that finds nothing costs more than a loop."""
    looked: list[str] = []
    search = bindings.importlib.import_module

    def counting(name: str) -> types.ModuleType:
        if name not in sys.modules:
            looked.append(name)
        return search(name)

    monkeypatch.setattr(bindings, "importlib", types.SimpleNamespace(import_module=counting))
    monkeypatch.setattr(bindings, "_missing", set())
    for _ in range(3):
        create_engine("libev").close()
    assert len(looked) <= 1


def test_without_a_binding_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyev", None)
    monkeypatch.setitem(sys.modules, "gevent.libev.corecext", None)
    with pytest.raises(EngineUnavailableError, match="pip install evsockets-pyev.*pip install gevent"):
        create_engine("libev")


def test_another_module_called_pyev_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyev", types.ModuleType("pyev"))
    assert bindings.find_binding() not in (bindings.Pyev, bindings.GenuinePyev)


def test_the_timer_is_armed_again_only_when_a_poll_must_end_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    library("gevent.libev.corecext")
    monkeypatch.setattr("evsockets_libev.engine.find_binding", lambda: bindings.GeventCore)
    armed: list[float] = []
    with LibevEngine() as engine:
        arm = engine._loop.arm
        monkeypatch.setattr(engine._loop, "arm", lambda seconds: (armed.append(seconds), arm(seconds)))
        reader, writer = os.pipe()
        try:
            os.write(writer, b"x")
            engine.watch(reader, READ, "token")
            for timeout in (60, 60, 90, 30, 30, None, 40):
                assert engine.poll(timeout) == [("token", READ)]
            assert len(armed) == 2
            engine.watch(reader, 0, None)
        finally:
            os.close(reader)
            os.close(writer)
