"""What goes wrong in conversations over real sockets."""

from core.test_conversation_errors import *  # noqa: F403
