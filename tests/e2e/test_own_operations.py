"""Operations of users' own over real sockets."""

from core.test_own_operations import *  # noqa: F403
