"""A server for a container: it sends each line back reversed. It uses all cores, and SIGTERM drains it.

    python server.py tcp://0.0.0.0:7000 [WORKERS]
"""

from __future__ import annotations

import os
import sys

from evsockets import Conversation, LineFramePicker, serve

LINE = LineFramePicker(max_length=1000)


async def reverse(talk: Conversation) -> None:
    """Answer each line."""
    async for frame in talk.frames(LINE):
        await talk.write(frame.data[::-1] + b"\n")


def main() -> None:
    """Serve to the end."""
    address, *workers = sys.argv[1:]
    cores = len(os.sched_getaffinity(0))
    report = serve(
        reverse, address, limit=10_000, idle_timeout=60, io_timeout=30,
        workers=int(workers[0]) if workers else cores,
        ready=lambda executor, local_address: print("tcp://%s:%d serves lines" % local_address, flush=True),
    )  # fmt: skip
    print(f"{report.finished} clients have finished, {len(report.aborted)} were cut off", flush=True)


if __name__ == "__main__":
    main()
