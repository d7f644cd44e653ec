"""Handlers given by keyword over real sockets."""

from core.test_on_keywords import *  # noqa: F403
