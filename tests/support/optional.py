"""Libraries that tests use besides this one: a developer may lack them, CI may not."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def library(name: str) -> Any:
    """Import it; without it a test is skipped, and fails in CI."""
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name, exc_type=ImportError)
