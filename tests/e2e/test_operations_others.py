"""Our end, delays, null and own operations over real sockets."""

from core.test_operations_others import *  # noqa: F403
