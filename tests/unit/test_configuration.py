"""Settings: defaults, checks that name the setting, and the equality that sharing rests on."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import ssl
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from evsockets.configuration import (
    WAIT_FOREVER,
    Configuration,
    StreamContext,
    stream_context_of,
    tls_settings_of,
)
from evsockets.validation import check_duration, check_speed, check_timeout, nearest, parse_bind

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def test_timeouts() -> None:
    assert WAIT_FOREVER is None
    assert check_timeout("io_timeout", None) is None
    assert check_timeout("io_timeout", math.inf) is None
    for value, seconds in ((0, 0.0), (5, 5.0), (0.25, 0.25), (Decimal("1.5"), 1.5)):
        result = check_timeout("io_timeout", value)
        assert result == seconds
        assert isinstance(result, float)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ((-1, -0.1, -math.inf, math.nan, Decimal("NaN"), 10**400), ValueError),
        (("5", b"5", True, [], object(), 1j), TypeError),
    ],
)
def test_what_is_no_timeout(values: tuple[object, ...], error: type[Exception]) -> None:
    for value in values:
        with pytest.raises(error, match="io_timeout"):
            check_timeout("io_timeout", value)


def test_speeds_and_durations() -> None:
    assert check_speed("min_send_speed", None) is None
    assert check_speed("min_send_speed", 5) == 5.0
    with pytest.raises(ValueError, match="min_send_speed"):
        check_speed("min_send_speed", math.inf)
    assert check_duration("min_send_speed_duration", 5) == 5.0
    with pytest.raises(ValueError, match="min_send_speed_duration must be more than 0"):
        check_duration("min_send_speed_duration", 0)


DEFAULTS = {
    "connection_timeout": 60, "io_timeout": 60, "idle_timeout": None, "request_timeout": None,
    "preferred_engines": ("libev", "selectors"), "stream_context": None, "min_receive_speed": None,
    "min_receive_speed_duration": None, "min_send_speed": None, "min_send_speed_duration": None,
    "isolate_handler_errors": False, "resolver_threads": 64,
}  # fmt: skip
#: What is given, and what it is kept as.
GIVEN: dict[str, tuple[Any, Any]] = {
    "connection_timeout": (1, 1.0), "io_timeout": (WAIT_FOREVER, None), "idle_timeout": (2, 2.0),
    "request_timeout": (3, 3.0), "preferred_engines": (["selectors"], ("selectors",)),
    "stream_context": ({"backlog": 5}, StreamContext(backlog=5)), "min_receive_speed": (4, 4.0),
    "min_receive_speed_duration": (5, 5.0), "min_send_speed": (6, 6.0), "min_send_speed_duration": (7, 7.0),
    "isolate_handler_errors": (True, True), "resolver_threads": (2, 2),
}  # fmt: skip


def test_configuration_defaults_and_what_is_given() -> None:
    assert {name: getattr(Configuration(), name) for name in DEFAULTS} == DEFAULTS
    configuration = Configuration(**{name: given for name, (given, _) in GIVEN.items()})
    for name, (_, kept) in GIVEN.items():
        assert getattr(configuration, name) == kept and type(getattr(configuration, name)) is type(kept)
    with pytest.raises(AttributeError):
        configuration.io_timeout = 5  # type: ignore[misc]


@pytest.mark.parametrize("name", [name for name in GIVEN if name.endswith("timeout") or "speed" in name])
def test_configuration_checks_numbers(name: str) -> None:
    for value, error in ((-1, ValueError), ("1", TypeError)):
        with pytest.raises(error, match=name):
            Configuration(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("preferred_engines", "libev", TypeError, "preferred_engines must be a sequence of str"),
        ("stream_context", "tls", TypeError, "a stream context is"),
        ("isolate_handler_errors", 1, TypeError, "isolate_handler_errors"),
        *(("resolver_threads", wrong, ValueError, "resolver_threads") for wrong in (0, -1)),
        *(("resolver_threads", wrong, TypeError, "resolver_threads") for wrong in (None, 1.5, True, "4")),
    ],
)
def test_configuration_checks_the_rest(name: str, value: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Configuration(**{name: value})


def test_stream_context_of() -> None:
    context = StreamContext(backlog=5)
    assert stream_context_of(context) is context
    assert stream_context_of({"backlog": 5}) == context
    assert stream_context_of(None) == StreamContext() == stream_context_of({})
    with pytest.raises(TypeError, match="unknown stream context setting 'bind_too', did you mean 'bind_to'"):
        stream_context_of({"bind_too": "127.0.0.1"})
    with pytest.raises(TypeError, match="a stream context is a StreamContext or a mapping, not str"):
        stream_context_of("bind_to")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        StreamContext(5)  # type: ignore[arg-type, call-arg]
    with pytest.raises(AttributeError):
        context.backlog = 6  # type: ignore[misc]


def test_stream_context_is_a_value() -> None:
    tls = ssl.create_default_context()
    first = StreamContext(alpn_protocols=["h2", "http/1.1"], bind_to=("", 0))  # type: ignore[arg-type]
    second = stream_context_of({"alpn_protocols": ("h2", "http/1.1"), "bind_to": ["", 0]})
    assert first == second
    assert hash(first) == hash(second)
    assert tls_settings_of(first) == tls_settings_of(second)
    assert first.alpn_protocols == ("h2", "http/1.1")
    assert tls_settings_of(StreamContext(tls=tls)) != tls_settings_of(StreamContext())
    assert tls_settings_of(StreamContext(backlog=1)) == tls_settings_of(StreamContext())
    for name, value in {"verify": False, "ca_file": "x", "server_hostname": "x"}.items():
        assert tls_settings_of(stream_context_of({name: value})) != tls_settings_of(StreamContext())


def test_stream_context_options() -> None:
    context = StreamContext(options=[[1, 2, True], (1, 3, bytearray(b"x"))])  # type: ignore[list-item, arg-type]
    assert context.options == ((1, 2, 1), (1, 3, b"x"))
    assert context == stream_context_of({"options": ((1, 2, 1), (1, 3, b"x"))}) and hash(context)
    assert not context._usual and StreamContext(options=())._usual
    with pytest.raises(TypeError, match=r"the value of \(1, 2, None\) must be an int or bytes"):
        StreamContext(options=[(1, 2, None)])  # type: ignore[list-item, arg-type]


def test_stream_context_certificates() -> None:
    assert StreamContext(ca_data=PEM.encode()) == StreamContext(ca_data=PEM)
    assert StreamContext(ca_data="\xfc" + PEM).ca_data == "?" + PEM
    assert tls_settings_of(StreamContext(ca_data=PEM)) != tls_settings_of(StreamContext())
    with pytest.raises(ValueError, match=r"is for ca_file=, and ssl\.DER_cert_to_PEM_cert\(\) makes PEM"):
        StreamContext(ca_data=b"0\x82")


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
        {"ca_data": PEM},
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
        ({"ca_data": 5}, TypeError),
        ({"ca_data": "/etc/ca.pem"}, ValueError),
        ({"ca_data": b"0\x82\x03"}, ValueError),
        ({"connect_datagrams": 0}, TypeError),
        ({"options": "keepalive"}, TypeError),
        ({"options": 5}, TypeError),
        ({"options": [(1, 2)]}, TypeError),
        ({"options": [5]}, TypeError),
        ({"options": {"a": 1}}, TypeError),
        ({"options": [("1", 2, 3)]}, TypeError),
        ({"options": [(1, None, 3)]}, TypeError),
        ({"options": [(1, True, 3)]}, TypeError),
        ({"options": [(1, 2, "3")]}, TypeError),
        ({"options": [(1, 2, None)]}, TypeError),
        ({"options": [(1, 2, 1.5)]}, TypeError),
        ({"options": [(-1, 2, 3)]}, ValueError),
        ({"options": [(1, 2, 2**31)]}, ValueError),
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
    assert nearest("zzz", ["io_timeout", "a"]) == "; known are io_timeout, a"


@pytest.mark.parametrize(
    ("kind", "given", "unknown"),
    [
        (StreamContext, {"backlog": 5, "ciphers": "AES"}, "stream context setting 'backlogg', did you mean"),
        (Configuration, {"io_timeout": 5.0, "resolver_threads": 2}, "a configuration 'io_timeoutt"),
    ],
)
def test_settings_behave_as_values(kind: type[Any], given: dict[str, Any], unknown: str) -> None:
    one = kind(**given)
    copies = [copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), one.__replace__()]
    assert all(each == one and hash(each) == hash(one) and repr(each) == repr(one) for each in copies)
    name, value = next(iter(given.items()))
    assert f"{name}={value!r}" in repr(one) and repr(one).startswith(f"{kind.__name__}(")
    other = one.__replace__(**{name: 7})
    assert other != one and getattr(other, name) == 7 and getattr(one, name) == value
    with pytest.raises(AttributeError, match="not changed once made"):
        delattr(one, name)
    with pytest.raises(TypeError, match=unknown):
        kind(**{f"{name}{name[-1]}": value})
    signature = inspect.signature(kind)
    assert {known: each.default for known, each in signature.parameters.items()}.items() >= {
        (name, getattr(kind, name)) for name in given
    }

    class Derived(kind):  # type: ignore[misc]
        pass

    assert Derived(**given) != one and repr(Derived(**given)).count("=") == repr(one).count("=")


def test_true_is_no_number() -> None:
    """`tcp_keepalive=True` leaves the times to the system, 1 is a second."""
    assert StreamContext(tcp_keepalive=True) != StreamContext(tcp_keepalive=1)
    assert StreamContext(tcp_keepalive=1) == StreamContext(tcp_keepalive=1)


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(TypeError, match="not 1"):
        stream_context_of({1: 2})  # type: ignore[arg-type]
