"""The same as `python -m tests.bench`, for those who prefer a path: `python tests/bench/run.py`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)
    runpy.run_module("tests.bench", run_name="__main__", alter_sys=True)
