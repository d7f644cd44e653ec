"""A server of several processes, a program: `python workers_service.py ADDRESS WORKERS [SETTINGS as JSON]`.

It prints its URL when it is ready, and how its clients ended at the end. A client that says `who` is told the
worker's process, `wait` at once and half a second later again, `bug` is one.
"""

from __future__ import annotations

import os

if os.environ.get("WORKERS_PATCHED"):
    from gevent import monkey

    monkey.patch_all()

import json
import logging
import sys
from pathlib import Path
from typing import Any

from evsockets import Conversation, MarkerFramePicker, RequestExecutor, serve

LINE = MarkerFramePicker(None, b"\n")
#: While a file of this name exists, no worker can begin; while it says so, each ends soon.
FAULT = os.environ.get("WORKERS_FAULT", "")

if __name__ == "__mp_main__" and FAULT and Path(FAULT).exists():
    raise ImportError("a fault at the beginning")


async def answer(talk: Conversation) -> None:
    async for frame in talk.frames(LINE):
        if frame.data == b"wait\n":
            await talk.write(b"%d\n" % os.getpid())
            await talk.sleep(0.5)
        if frame.data == b"bug\n":
            raise ZeroDivisionError
        if frame.data == b"die\n":
            os._exit(7)
        await talk.write(b"%d\n" % os.getpid())


def main(address: str, workers: str, settings: str = "{}") -> None:
    logging.basicConfig(format="%(levelname)s %(message)s", filename=os.environ.get("WORKERS_LOG"))

    def ready(executor: RequestExecutor, local: Any) -> None:
        where = "%s:%d" % local[:2] if isinstance(local, tuple) else local
        print(f"{address.partition('://')[0]}://{where} {os.getpid()}", flush=True)

    more = json.loads(settings)
    report = serve(answer, address, workers=int(workers), ready=ready, drain_timeout=5, **more)
    print(json.dumps([report.finished, report.closed_idle, [why for _, why in report.aborted]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
