"""Keywords that do not exist: the error says which one was meant, and where it belongs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    Target,
    fan_out,
    fan_out_async,
    serve,
)
from evsockets.settings import WRITABLE


async def talks(talk: Any) -> None: ...


def added(**keywords: Any) -> None:
    with RequestExecutor() as executor:
        executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), **keywords)


def fanned(**keywords: Any) -> None:
    fan_out(talks, [], **keywords)


def served(**keywords: Any) -> None:
    serve(talks, "tcp://127.0.0.1:0", **keywords)


def target(**keywords: Any) -> None:
    Target("tcp://127.0.0.1:1", **keywords)


@pytest.mark.parametrize("function", [added, fanned, served, target])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("certificate", "certificate"), ("certfile", "certificate"), ("cert", "certificate"),
        ("ca", "ca_file"), ("key", "private_key"), ("sni", "server_hostname"), ("alpn", "alpn_protocols"),
        ("verify", "verify"), ("reuseport", "reuse_port"), ("tls", "tls"),
    ],
)  # fmt: skip
def test_settings_of_a_stream_context_belong_into_it(function: Any, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}'; write stream_context={{'{meant}': ...}}"):
        function(**{name: 1})


@pytest.mark.parametrize(
    ("function", "name", "meant"),
    [
        (fanned, "concurrency", "limit"), (fanned, "workers", "processes"), (fanned, "retry", "retries"),
        (fanned, "io_timout", "io_timeout"), (served, "concurrency", "limit"),
        (served, "processes", "workers"), (served, "drain_time", "drain_timeout"),
        (target, "timeout", "io_timeout"),
    ],
)  # fmt: skip
def test_arguments_that_are_meant(function: Any, name: str, meant: str) -> None:
    says = rf"{{}}\(\) has no argument '{name}', did you mean '{meant}'\?; its arguments are args, "
    called = {fanned: "fan_out", served: "serve", target: "Target"}[function]
    with pytest.raises(TypeError, match=says.format(called)):
        function(**{name: 1})


@pytest.mark.parametrize(("function", "refused"), [
    (fan_out, {"address", "keep_alive"}), (fan_out_async, {"address", "keep_alive"}), (serve, {"address"}),
])  # fmt: skip
def test_all_arguments_are_listed_and_no_others(function: Any, refused: set[str]) -> None:
    with pytest.raises(TypeError, match="has no argument 'qqqqqq'; its arguments are ") as caught:
        function(talks, "tcp://127.0.0.1:0" if function is serve else [], qqqqqq=1)
    parameters = inspect.signature(function).parameters.values()
    own = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    listed = str(caught.value).partition("its arguments are ")[2].split(", ")
    assert listed == sorted({*own, *WRITABLE} - refused)


def test_a_stream_context_names_its_settings() -> None:
    with pytest.raises(TypeError, match="setting 'zzzqqq'; known are bind_to, backlog, .*, proxy_protocol$"):
        StreamContext(zzzqqq=1)  # type: ignore[call-arg]
    for name, meant in StreamContext._synonyms.items():
        with pytest.raises(TypeError, match=f"setting '{name}', did you mean '{meant}'?"):
            StreamContext(**{name: 1})  # type: ignore[arg-type]


def test_tls_that_is_served_without_a_certificate() -> None:
    with pytest.raises(ConnectionFailedError, match=r"set stream_context=\{'certificate': ..., 'private_key"):
        serve(talks, "tls://127.0.0.1:0")


@pytest.mark.parametrize(("function", "column"), [(fan_out, 1), (serve, 2)])
def test_the_table_of_arguments_in_the_docs(function: Any, column: int) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/fan-out.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\| (?:`(.*?)`)? ?\| ", page, re.M)
    parameters = inspect.signature(function).parameters.values()
    real = {one.name: repr(one.default) for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert {row[0]: row[column] for row in rows if row[column]} == real
