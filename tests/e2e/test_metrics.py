"""What Prometheus is told over real sockets."""

from core.test_metrics import *  # noqa: F403
