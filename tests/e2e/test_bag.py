"""The bag's rules over real sockets."""

from core.test_bag import *  # noqa: F403
