"""pyev: libev for Python. See the docstrings of its classes, `Loop` first."""

from ._core import *  # noqa: F403
from ._core import __version__ as __version__
