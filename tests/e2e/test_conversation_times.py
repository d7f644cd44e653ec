"""Sleeping, time-outs and drains of conversations over real sockets."""

from core.test_conversation_times import *  # noqa: F403
