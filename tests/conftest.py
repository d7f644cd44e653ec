"""A certificate authority, and a watch over leaked descriptors; engines: `evsockets.testing.plugin`."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from evsockets.testing.plugin import demanded, why_not
from support.certificates import Authority

# How long an example takes says how busy the machine is. (What hypothesis itself sets under CI stays.)
settings.register_profile("tests", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("tests")


@pytest.fixture(scope="session")
def gevent_is_tested(pytestconfig: pytest.Config) -> None:
    """For tests of the gevent engine alone: elsewhere (the libev engine runs on gevent's binding) it need
    not be there."""
    wanted = demanded(pytestconfig)
    if wanted and not any(name.partition(":")[0] == "gevent" for name in wanted):
        pytest.skip("the gevent engine is not among those to test")
    reason = why_not("gevent")
    if reason is not None:
        if wanted:
            pytest.fail(f"engine gevent must be here and is not: {reason}", pytrace=False)
        pytest.skip(f"engine gevent: {reason}")


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of this run."""
    return Authority(tmp_path_factory.mktemp("ca"))


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of the listing itself
            continue
    return found


@pytest.fixture(autouse=True)
def no_descriptor_leak(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test no descriptor is open that was not open before."""
    if not os.path.isdir("/proc/self/fd"):
        yield
        return
    before = _descriptors()
    yield
    after = _descriptors()
    if len(after) > len(before):
        gc.collect()
        after = _descriptors()
    new = {fd: what for fd, what in after.items() if before.get(fd) != what}
    if "gevent" in sys.modules:
        # A hub made by this test is gevent's for the rest of the process.
        new = {fd: what for fd, what in new.items() if "[eventpoll]" not in what and "[eventfd]" not in what}
    if len(after) > len(before) and new:
        listing = ", ".join(f"{fd} -> {what}" for fd, what in sorted(new.items()))
        pytest.fail(f"descriptors left open: {listing}", pytrace=False)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A loopback port that refuses connections: bound for the test's time, never listening."""
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
