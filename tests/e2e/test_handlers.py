"""Which handlers are called, and in which order, over real sockets."""

from core.test_handlers import *  # noqa: F403
