"""`--dask SCHEDULER`: the cluster whose workers send the requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..text import one_line
from .common import CommandError

if TYPE_CHECKING:
    from distributed import Client

#: Seconds that a scheduler has to answer.
_PATIENCE = 10


@contextmanager
def cluster(address: str | None) -> Iterator[Client | None]:
    """The client of the scheduler at `address`, closed at the end; None without an address. CommandError if
    the scheduler does not answer, or a package is missing."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise CommandError("--dask needs Dask: pip install 'evsockets[dask]'") from error
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call, unused-ignore]
    except (OSError, ValueError) as error:
        why = one_line(str(error)) or type(error).__name__
        raise CommandError(f"--dask: {why}; give a scheduler such as tcp://host:8786", 1) from error
    with client:
        yield client
