"""The order of events in a socket's life over real sockets."""

from core.test_life_order import *  # noqa: F403
