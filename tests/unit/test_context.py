"""The execution context."""

from __future__ import annotations

import pytest

from evsockets.context import ExecutionContext


def test_every_way_of_access_agrees():
    context = ExecutionContext()
    assert not context.has("key")
    assert "key" not in context
    assert context.get("key") is None
    assert context.get("key", 5) == 5
    context.set("key", 1)
    assert context["key"] == context.get("key") == context.key == 1
    context["key"] = 2
    assert context.key == 2
    context.key = 3
    assert context.get("key") == 3
    assert context.has("key")
    context.remove("key")
    context.remove("key")
    assert not context.has("key")


def test_none_is_a_value():
    context = ExecutionContext({"key": None})
    assert context.has("key")
    assert context.get("key", 5) is None


def test_missing():
    context = ExecutionContext()
    with pytest.raises(KeyError, match="key"):
        context["key"]
    with pytest.raises(KeyError):
        del context["key"]
    with pytest.raises(AttributeError, match="key"):
        context.key  # noqa: B018
    with pytest.raises(AttributeError, match="key"):
        del context.key


def test_methods_cannot_be_overwritten():
    context = ExecutionContext()
    with pytest.raises(AttributeError, match="get"):
        context.get = 5
    with pytest.raises(AttributeError, match="_values"):
        context._values = 5
    context["get"] = 5
    assert context["get"] == 5
    assert context.get("get") == 5


def test_is_a_mapping():
    context = ExecutionContext({"a": 1, "b": 2})
    assert dict(context) == {"a": 1, "b": 2} == context
    assert len(context) == 2
    assert list(context) == ["a", "b"]
    context.update(c=3)
    assert context.pop("c") == 3
    assert context.setdefault("d", 4) == 4
    del context.d
    assert repr(context) == "ExecutionContext({'a': 1, 'b': 2})"


def test_namespaces_are_isolated():
    context = ExecutionContext()
    inner = context.in_namespace("inner")
    assert context.in_namespace("inner") is inner
    inner.set("key", "inner")
    context.set("other", "outer")
    assert not context.has("key")
    assert not inner.has("other")
    assert not context.in_namespace("another").has("key")
    assert not inner.in_namespace("inner").has("key")
    assert "inner" not in context


def test_clearing_keeps_namespaces():
    context = ExecutionContext({"key": 1})
    context.in_namespace("inner").set("key", 2)
    context.clear()
    assert not context.has("key")
    assert len(context) == 0
    assert context.in_namespace("inner")["key"] == 2
