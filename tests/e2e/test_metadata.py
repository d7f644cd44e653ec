"""The attributes of a socket's metadata over real sockets."""

from core.test_metadata import *  # noqa: F403
