"""Writing over real sockets."""

from core.test_operations_write import *  # noqa: F403
