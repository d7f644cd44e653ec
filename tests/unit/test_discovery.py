"""Names become engines, and what cannot be used says why without harming the rest."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from evsockets import RequestExecutor
from evsockets.engines import READ, Engine, SelectorsEngine, available_engines, create_engine, discovery
from evsockets.errors import EngineUnavailableError


class Working(SelectorsEngine):
    name = "working"


class NoVariants(Engine):
    name = "plain"

    def __init__(self) -> None:
        self.open = True

    def watch(self, fd: int, interest: int, token: Any) -> None: ...

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        return []

    def close(self) -> None:
        self.open = False


class WithoutPoll(Engine):
    def watch(self, fd: int, interest: int, token: Any) -> None: ...
    def close(self) -> None: ...


class DuckWithoutClose:
    def watch(self, fd: int, interest: int, token: Any) -> None: ...

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        return []


class Duck(DuckWithoutClose):
    """No subclass of Engine, and no `contract`: the current one."""

    name = "duck"

    def close(self) -> None: ...


class FromTheFuture(NoVariants):
    contract = 99


class Missing(NoVariants):
    @classmethod
    def available(cls) -> str | None:
        return "needs libfoo; apt install libfoo"


class AsksBadly(NoVariants):
    @classmethod
    def available(cls) -> str | None:
        raise RuntimeError("boom")


class CannotBeMade(NoVariants):
    def __init__(self) -> None:
        raise MemoryError("none left")


class _Dist:
    def __init__(self, name: str) -> None:
        self.name = name


Plug = Callable[..., None]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Announce engines as installed distributions would: `plug(name="module:Class", ...)`."""
    monkeypatch.delenv("EVSOCKETS_ENGINE", raising=False)
    entries: list[EntryPoint] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: list(entries))
    monkeypatch.setattr(discovery, "_installed", None)

    def plug(**values: str) -> None:
        for name, value in values.items():
            entry = EntryPoint(name, value, discovery.GROUP)
            vars(entry)["dist"] = _Dist(f"evsockets-{name}")
            entries.append(entry)
        discovery._installed = None

    return plug


def here(name: str) -> str:
    return f"{__name__}:{name}"


def test_the_built_in_one_is_there_without_metadata(plug: Plug) -> None:
    with create_engine("selectors") as engine:
        assert type(engine) is SelectorsEngine and engine.name == "selectors"
    assert available_engines()["selectors"] is None


@pytest.mark.parametrize("variant", SelectorsEngine.variants())
def test_variants_are_chosen_by_name(plug: Plug, variant: str) -> None:
    with create_engine(f"selectors:{variant}") as engine:
        assert engine.name == "selectors"
        assert isinstance(engine, SelectorsEngine) and engine.binding == variant
    assert available_engines()[f"selectors:{variant}"] is None


def test_a_plugin_is_found_by_its_name(plug: Plug) -> None:
    plug(working=here("Working"), duck=here("Duck"))
    with create_engine("working") as engine:
        assert type(engine) is Working
    assert type(create_engine("duck")) is Duck  # type: ignore[comparison-overlap]
    known = available_engines()
    assert known["working"] is None and known["working:poll"] is None and known["duck"] is None


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("nowhere_at_all:Engine", "No module named 'nowhere_at_all'"),
        (here("NotThere"), "NotThere"),
        (here("WithoutPoll"), "lacks poll"),
        (here("DuckWithoutClose"), "lacks close"),
        (here("FromTheFuture"), "contract 99.*contract 1"),
        (here("here"), "not a class"),
        (here("Missing"), "needs libfoo; apt install libfoo"),
        (here("AsksBadly"), "boom"),
    ],
)
def test_a_broken_plugin_is_named_and_harms_nobody(plug: Plug, target: str, complaint: str) -> None:
    plug(broken=target, working=here("Working"))
    with pytest.raises(EngineUnavailableError, match=complaint) as caught:
        create_engine("broken")
    assert "evsockets-broken" in str(caught.value)
    known = available_engines()
    assert known["broken"] is not None and "evsockets-broken" in known["broken"]
    assert known["working"] is None and known["selectors"] is None
    create_engine("working").close()


def test_what_fails_when_made_is_unavailable(plug: Plug) -> None:
    plug(heavy=here("CannotBeMade"))
    with pytest.raises(EngineUnavailableError, match="none left") as caught:
        create_engine("heavy")
    assert isinstance(caught.value.__cause__, Exception)


def test_unknown_names_list_the_known_and_the_nearest(plug: Plug) -> None:
    plug(working=here("Working"))
    with pytest.raises(
        EngineUnavailableError, match="did you mean 'selectors'.*gevent, libev, libevent, selectors, working"
    ):
        create_engine("selector")
    with pytest.raises(EngineUnavailableError, match="did you mean 'epoll'"):
        create_engine("selectors:epol")
    with pytest.raises(EngineUnavailableError, match="did you mean 'selectors:select'"):
        create_engine("select")
    with pytest.raises(EngineUnavailableError, match="no engine is named ''.*install the distribution"):
        create_engine("")
    with pytest.raises(TypeError):
        create_engine(3)  # type: ignore[arg-type]


def test_an_engine_of_ones_own_is_written_for_this_contract_too() -> None:
    class Future(Working):
        contract = 99

    engine = Future()
    with pytest.raises(EngineUnavailableError, match="Future.*contract 99.*contract 1"):
        RequestExecutor(engine)
    engine.close()


def test_a_variant_where_there_are_none(plug: Plug) -> None:
    plug(plain=here("NoVariants"))
    with pytest.raises(EngineUnavailableError, match="has no variants"):
        create_engine("plain:fast")


def test_official_engines_say_what_to_install(plug: Plug) -> None:
    known = available_engines()
    for name in ("libev", "libevent", "gevent"):
        assert known[name] == f'not installed; install it with: pip install "evsockets[{name}]"'


def test_the_first_usable_of_the_preferred_is_taken(plug: Plug) -> None:
    assert create_engine().name == "selectors"
    plug(libev=here("Working"))
    assert type(create_engine()) is Working
    assert create_engine(preferred=("nothing", "selectors:poll")).name == "selectors"


def test_every_candidate_and_its_reason_is_listed(plug: Plug) -> None:
    plug(one=here("Missing"))
    with pytest.raises(EngineUnavailableError) as caught:
        create_engine(preferred=("one", "libev"))
    assert "one: needs libfoo" in str(caught.value) and "libev: not installed" in str(caught.value)
    with pytest.raises(EngineUnavailableError, match="empty"):
        create_engine(preferred=())


def test_the_environment_comes_before_everything_but_a_name(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, patched_by_gevent: None
) -> None:
    plug(working=here("Working"), gevent=here("NoVariants"))
    monkeypatch.setenv("EVSOCKETS_ENGINE", "working")
    assert type(create_engine()) is Working
    assert create_engine("selectors").name == "selectors"
    monkeypatch.setenv("EVSOCKETS_ENGINE", "wroking")
    with pytest.raises(EngineUnavailableError, match="EVSOCKETS_ENGINE"):
        create_engine()
    monkeypatch.setenv("EVSOCKETS_ENGINE", "")
    assert type(create_engine()) is NoVariants


@pytest.fixture
def patched_by_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Monkey(types.ModuleType):
        @staticmethod
        def is_module_patched(name: str) -> bool:
            return name == "socket"

        @staticmethod
        def is_object_patched(module: str, name: str) -> bool:
            return False

    monkeypatch.setitem(sys.modules, "gevent.monkey", Monkey("gevent.monkey"))


def test_a_patched_socket_asks_for_gevent(plug: Plug, patched_by_gevent: None) -> None:
    with pytest.raises(EngineUnavailableError, match=r"monkey-patched.*\n.*evsockets\[gevent\]"):
        create_engine()
    plug(gevent=here("NoVariants"))
    assert type(create_engine()) is NoVariants


def test_engines_are_loaded_only_when_asked_for(plug: Plug) -> None:
    plug(explosive="antigravity_that_is_not_there:Engine")
    create_engine("selectors").close()


def test_a_subclass_counts_its_own_calls() -> None:
    class Counting(SelectorsEngine):
        polls = 0

        def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
            self.polls += 1
            return super().poll(timeout)

    import os

    reader, writer = os.pipe()
    try:
        os.write(writer, b"x")
        with Counting("poll") as engine:
            engine.watch(reader, READ, "token")
            assert engine.poll(None) == [("token", READ)] and engine.polls == 1
    finally:
        os.close(reader)
        os.close(writer)


@pytest.fixture
def reads(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the installed distributions are gone through."""
    plug(libev=here("Working"), working=here("Working"), broken=here("NotThere"))
    found: list[str] = []
    read = metadata.entry_points

    def counting(*, group: str) -> Any:
        found.append(group)
        return read(group=group)

    monkeypatch.setattr("importlib.metadata.entry_points", counting)
    return found


def test_what_is_installed_is_read_once(reads: list[str]) -> None:
    """However many executors are made, on whatever engine, and whatever is asked meanwhile."""
    for _ in range(3):
        for name in ("selectors", "selectors:poll", "working", "libev", None):
            with RequestExecutor(name) as executor:
                executor.execute_request()
        for name in ("broken", "unknown", "gevent"):
            with pytest.raises(EngineUnavailableError):
                RequestExecutor(name)
        available_engines()
    assert len(reads) == 1


def test_a_fixed_engine_needs_no_reading(reads: list[str]) -> None:
    RequestExecutor("selectors").close()
    assert reads == []


def test_it_is_read_again_when_asked(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "later" not in available_engines()
    entry = EntryPoint("later", here("Working"), discovery.GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: [entry])
    assert "later" not in available_engines()
    assert available_engines(refresh=True)["later"] is None
    create_engine("later").close()


def test_a_reading_that_failed_is_no_reading(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors: told, and tried again by the next one."""
    with monkeypatch.context() as patched:

        def out_of_descriptors(*args: Any) -> int:
            raise OSError(24, "Too many open files")

        patched.setattr(discovery.os, "open", out_of_descriptors)
        with pytest.raises(EngineUnavailableError, match="cannot be read"):
            create_engine("working")
    create_engine("working").close()
