"""`--dask SCHEDULER`: the cluster whose workers send the requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..text import one_line, printable
from .common import CommandError, notice

if TYPE_CHECKING:
    from distributed import Client

#: Seconds that a scheduler has to answer, and after which a line says that it has not yet.
_PATIENCE = 10
_SILENCE = 1.0


@contextmanager
def cluster(address: str | None) -> Iterator[Client | None]:
    """The client of the scheduler at `address`, closed at the end; None without an address. CommandError if
    the scheduler does not answer, or a package is missing."""
    if address is None:
        yield None
        return
    from threading import Thread

    try:
        from distributed import Client
    except ImportError as error:
        raise CommandError("--dask needs Dask: pip install 'evsockets[dask]'") from error
    client: Client = Client.__new__(Client)
    failures: list[Exception] = []

    def connect() -> None:
        try:
            Client.__init__(client, address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call, unused-ignore]
        except Exception as error:
            failures.append(error)

    # In a thread: for who accepts and is silent, Dask waits two minutes, whatever its time-out.
    connecting = Thread(target=connect, daemon=True)
    connecting.start()
    connected, place = False, printable(address)
    try:
        connecting.join(_SILENCE)
        if connecting.is_alive():
            notice(f"evsockets: waiting for the scheduler at {place} ...")
            connecting.join(_PATIENCE)
        connected = not (failures or connecting.is_alive())
    finally:
        if not connected:
            client.status = "closed"  # else its finalizer waits once more
    if not connected:
        failure = failures[0] if failures else TimeoutError(f"no answer within {_PATIENCE} s")
        why = printable(one_line(str(failure))) or type(failure).__name__
        cure = "start one with 'dask scheduler', or give the address it prints, such as tcp://host:8786"
        raise CommandError(f"--dask: no scheduler at {place}: {why}; {cure}", 1) from failure
    with client:
        yield client
