"""pyev: libev for Python. What it can do is in its classes' docstrings; `Loop` is where to begin."""

from ._core import *  # noqa: F403
from ._core import __version__ as __version__
