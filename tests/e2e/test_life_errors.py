"""What user code raises, in every event, over real sockets."""

from core.test_life_errors import *  # noqa: F403
