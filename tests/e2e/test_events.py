"""The rules of events over real sockets."""

from core.test_events import *  # noqa: F403
