"""Posting over real sockets."""

from core.test_conversation_posts import *  # noqa: F403
