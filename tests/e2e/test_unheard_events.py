"""An event nobody listens to is never built."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import EventType, RequestExecutor, events
from support.scenes import KINDS, scene
from support.sources import sources_only

CLASSES = [
    kind for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and "__init__" in vars(kind)
]  # fmt: skip


@sources_only
@pytest.mark.parametrize("kind", KINDS)
def test_never_built(executor: RequestExecutor, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: set[str] = set()

    def watch(cls: type) -> None:
        original: Any = vars(cls)["__init__"]

        def init(self: Any, *args: Any) -> None:
            original(self, *args)
            built.add(self.type.name)

        monkeypatch.setattr(cls, "__init__", init)

    for cls in CLASSES:
        watch(cls)
    with scene(executor, kind) as one:
        one.prepare(lambda event: event.cancel_operation())
        before = executor.socket_bag.get_metadata(one.socket)
        operation = executor.socket_bag.get_operation(one.socket)
        assert operation is not None
        executor.socket_bag.remove_socket(one.socket)
        values = {name: getattr(before, name) for name in ("address", "keep_alive", "io_timeout")}
        if kind in ("OOB", "ACCEPT"):
            # These would not come about, or not end, without anybody who listens.
            on = {EventType.OOB: lambda e: None, EventType.ACCEPT: lambda e: e.cancel_operation()}
            expected = {kind} if kind == "OOB" else {"CONNECTED", kind}
            if kind == "ACCEPT":
                on[EventType.CONNECTED] = one.knock
        else:
            on, expected = {}, set()
        executor.socket_bag.add_socket(one.socket, operation, handler=on, **values)
        executor.execute_request()
    assert built == expected
