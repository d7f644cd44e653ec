"""Conversations over real sockets."""

from core.test_conversations import *  # noqa: F403
