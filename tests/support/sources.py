"""What can be seen only where the sources themselves run: classes that take a spy, lines that are traced."""

from __future__ import annotations

import pytest

from evsockets._build import is_compiled

sources_only = pytest.mark.skipif(
    is_compiled(), reason="compiled classes take no spy, compiled lines no trace: the pure runs see them"
)
