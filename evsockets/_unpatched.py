"""The standard library's own primitives, also after gevent has monkey-patched them."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def original(module: str, name: str) -> Any:
    """Return attribute `name` of `module` as it was before any `gevent.monkey.patch_*` call.

    An AttributeError says that this Python has no such attribute.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_object_patched(module, name):
        return monkey.get_original(module, name)
    found = sys.modules.get(module) or importlib.import_module(module)
    if monkey is not None and not hasattr(found, name):
        # `patch_select` deletes what it cannot make cooperative (select.epoll, kqueue).
        return monkey.get_original(module, name)
    return getattr(found, name)
