"""Settings: defaults, checks that name the setting, and the equality that sharing rests on."""

from __future__ import annotations

import math
import ssl
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evsockets.checks import check_duration, check_speed, nearest, parse_bind
from evsockets.configuration import WAIT_FOREVER, Configuration, StreamContext, check_timeout


def test_timeouts() -> None:
    assert WAIT_FOREVER is None
    assert check_timeout("io_timeout", None) is None
    assert check_timeout("io_timeout", math.inf) is None
    for value, seconds in ((0, 0.0), (5, 5.0), (0.25, 0.25), (Decimal("1.5"), 1.5)):
        result = check_timeout("io_timeout", value)
        assert result == seconds
        assert isinstance(result, float)


@pytest.mark.parametrize("value", [-1, -0.1, -math.inf, math.nan, Decimal("NaN"), 10**400])
def test_bad_timeout_values(value: object) -> None:
    with pytest.raises(ValueError, match="io_timeout"):
        check_timeout("io_timeout", value)


@pytest.mark.parametrize("value", ["5", b"5", True, [], object(), 1j])
def test_what_is_no_timeout(value: object) -> None:
    with pytest.raises(TypeError, match="io_timeout"):
        check_timeout("io_timeout", value)


def test_speeds_and_durations() -> None:
    assert check_speed("min_send_speed", None) is None
    assert check_speed("min_send_speed", 5) == 5.0
    with pytest.raises(ValueError, match="min_send_speed"):
        check_speed("min_send_speed", math.inf)
    assert check_duration("min_send_speed_duration", 5) == 5.0
    with pytest.raises(ValueError, match="min_send_speed_duration must be more than 0"):
        check_duration("min_send_speed_duration", 0)


def test_configuration_defaults() -> None:
    configuration = Configuration()
    assert configuration.connection_timeout == 60
    assert configuration.io_timeout == 60
    assert configuration.idle_timeout is None
    assert configuration.request_timeout is None
    assert configuration.preferred_engines == ("libev", "selectors")
    assert configuration.stream_context is None
    assert configuration.min_receive_speed is None
    assert configuration.min_receive_speed_duration is None
    assert configuration.min_send_speed is None
    assert configuration.min_send_speed_duration is None
    assert configuration.isolate_handler_errors is False


def test_configuration_keeps_what_is_given() -> None:
    configuration = Configuration(
        connection_timeout=1,
        io_timeout=WAIT_FOREVER,
        idle_timeout=2,
        request_timeout=3,
        preferred_engines=["selectors"],  # type: ignore[arg-type]
        stream_context={"backlog": 5},  # type: ignore[arg-type]
        min_receive_speed=4,
        min_receive_speed_duration=5,
        min_send_speed=6,
        min_send_speed_duration=7,
        isolate_handler_errors=True,
    )
    assert configuration.connection_timeout == 1.0
    assert isinstance(configuration.connection_timeout, float)
    assert configuration.io_timeout is None
    assert configuration.preferred_engines == ("selectors",)
    assert configuration.stream_context == StreamContext(backlog=5)
    assert configuration.min_receive_speed == 4
    assert configuration.min_send_speed_duration == 7
    assert configuration.isolate_handler_errors
    with pytest.raises(AttributeError):
        configuration.io_timeout = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    "name",
    [
        "connection_timeout",
        "io_timeout",
        "idle_timeout",
        "request_timeout",
        "min_receive_speed",
        "min_receive_speed_duration",
        "min_send_speed",
        "min_send_speed_duration",
    ],
)
def test_configuration_checks_numbers(name: str) -> None:
    bad: list[tuple[Any, type[Exception]]] = [(-1, ValueError), ("1", TypeError)]
    for value, error in bad:
        settings: dict[str, Any] = {name: value}
        with pytest.raises(error, match=name):
            Configuration(**settings)


def test_configuration_checks_the_rest() -> None:
    with pytest.raises(TypeError, match="preferred_engines must be a sequence of str"):
        Configuration(preferred_engines="libev")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a stream context is"):
        Configuration(stream_context="tls")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="isolate_handler_errors"):
        Configuration(isolate_handler_errors=1)  # type: ignore[arg-type]


def test_stream_context_of() -> None:
    context = StreamContext(backlog=5)
    assert StreamContext.of(context) is context
    assert StreamContext.of({"backlog": 5}) == context
    assert StreamContext.of(None) == StreamContext() == StreamContext.of({})
    with pytest.raises(TypeError, match="unknown stream context setting 'bind_too', did you mean 'bind_to'"):
        StreamContext.of({"bind_too": "127.0.0.1"})
    with pytest.raises(TypeError, match="a stream context is a StreamContext or a mapping, not str"):
        StreamContext.of("bind_to")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        StreamContext(5)  # type: ignore[arg-type, call-arg]
    with pytest.raises(AttributeError):
        context.backlog = 6  # type: ignore[misc]


def test_stream_context_is_a_value() -> None:
    tls = ssl.create_default_context()
    first = StreamContext(alpn_protocols=["h2", "http/1.1"], bind_to=("", 0))  # type: ignore[arg-type]
    second = StreamContext.of({"alpn_protocols": ("h2", "http/1.1"), "bind_to": ["", 0]})
    assert first == second
    assert hash(first) == hash(second)
    assert first.tls_settings == second.tls_settings
    assert first.alpn_protocols == ("h2", "http/1.1")
    assert StreamContext(tls=tls).tls_settings != StreamContext().tls_settings
    assert StreamContext(backlog=1).tls_settings == StreamContext().tls_settings
    for name, value in {"verify": False, "ca_file": "x", "server_hostname": "x"}.items():
        assert StreamContext.of({name: value}).tls_settings != StreamContext().tls_settings


def test_stream_context_paths() -> None:
    context = StreamContext(ca_file=Path("a"), certificate=Path("b"), private_key="c")
    assert (context.ca_file, context.certificate, context.private_key) == ("a", "b", "c")


@pytest.mark.parametrize(
    "settings",
    [
        {"alpn_protocols": ["h2"]},
        {"verify": True},
        {"verify": False},
        {"ca_file": "x"},
        {"certificate": "x"},
        {"certificate": "x", "private_key": "x"},
    ],
)
def test_a_ready_context_excludes_the_settings_in_it(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        StreamContext(tls=ssl.create_default_context(), **settings)


def test_a_ready_context_goes_with_the_rest() -> None:
    tls = ssl.create_default_context()
    context = StreamContext(tls=tls, server_hostname="x", require_close_notify=False, backlog=1)
    assert context.tls is tls


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"backlog": -1}, ValueError),
        ({"backlog": "5"}, TypeError),
        ({"backlog": True}, TypeError),
        ({"reuse_port": 1}, TypeError),
        ({"reuse_address": "yes"}, TypeError),
        ({"no_delay": None}, TypeError),
        ({"require_close_notify": 0}, TypeError),
        ({"receive_buffer_size": 0}, ValueError),
        ({"send_buffer_size": 1.5}, TypeError),
        ({"multicast_ttl": 256}, ValueError),
        ({"multicast_groups": "224.0.0.1"}, TypeError),
        ({"multicast_groups": ["127.0.0.1"]}, ValueError),
        ({"multicast_groups": ["fe80::1"]}, ValueError),
        ({"multicast_groups": ["group"]}, ValueError),
        ({"multicast_groups": [1]}, TypeError),
        ({"multicast_interface": 1.5}, TypeError),
        ({"multicast_interface": True}, TypeError),
        ({"tcp_keepalive": 0}, ValueError),
        ({"tcp_keepalive": (1, 2)}, ValueError),
        ({"tcp_keepalive": "yes"}, TypeError),
        ({"tls": "context"}, TypeError),
        ({"server_hostname": 5}, TypeError),
        ({"server_hostname": ""}, ValueError),
        ({"server_hostname": "a..b"}, ValueError),
        ({"alpn_protocols": "h2"}, TypeError),
        ({"alpn_protocols": [""]}, ValueError),
        ({"alpn_protocols": ["x" * 256]}, ValueError),
        ({"alpn_protocols": ["ü"]}, ValueError),
        ({"alpn_protocols": [b"h2"]}, TypeError),
        ({"verify": "yes"}, ValueError),
        ({"verify": 1}, ValueError),
        ({"verify": []}, ValueError),
        ({"ca_file": 5}, TypeError),
        ({"private_key": "x"}, ValueError),
    ],
)
def test_stream_context_checks(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        StreamContext(**settings)
    assert next(iter(settings)) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("127.0.0.1", ("127.0.0.1", 0)),
        ("127.0.0.1:5", ("127.0.0.1", 5)),
        ("::1", ("::1", 0)),
        ("[::1]", ("::1", 0)),
        ("[::1]:5", ("::1", 5)),
        (":5", ("", 5)),
        ("localhost", ("localhost", 0)),
        (("localhost", 5), ("localhost", 5)),
        (("fe80::1%nosuchif", 5), ("fe80::1%nosuchif", 5)),
        ("/run/x", "/run/x"),
        ("@x", "@x"),
    ],
)
def test_bind_to(value: Any, meaning: object) -> None:
    assert parse_bind(value) == meaning
    assert StreamContext(bind_to=value).bind_to == value


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("example.org", ValueError),
        ("127.0.0.1:x", ValueError),
        ("127.0.0.1:65536", ValueError),
        (("127.0.0.1", 65536), ValueError),
        (("127.0.0.1", True), TypeError),
        (("127.0.0.1",), TypeError),
        (5, TypeError),
        (b"127.0.0.1", TypeError),
        ("@", ValueError),
        ("/" + "a" * 107, ValueError),
    ],
)
def test_bad_bind_to(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="bind_to"):
        StreamContext(bind_to=value)


def test_nearest() -> None:
    assert nearest("io_timout", ["io_timeout", "idle_timeout"]) == ", did you mean 'io_timeout'?"
    assert nearest("zzz", ["io_timeout"]) == ""
