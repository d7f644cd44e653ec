"""Many pages of one host over twenty kept-alive connections: twenty conversations share the work.

    python http_client.py tcp://127.0.0.1:80 1000

It needs the extra `http`: pip install 'evsockets[http]'.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

from evsockets import Conversation, fan_out
from evsockets.http import request


async def fetch(talk: Conversation, paths: Iterator[str]) -> list[tuple[str, int, int]]:
    """Get one path after the other, while there are any; returns path, status and size of each."""
    pages = []
    for path in paths:
        response = await request(talk, "GET", path)
        pages.append((path, response.status, len(response.body)))
        if not response.keep_alive:
            break  # the others go on with the rest
    return pages


def main(address: str, count: str) -> None:
    # One iterator for all: each conversation takes the next path from it.
    paths = iter([f"/?{number}" for number in range(int(count))])
    outcomes = fan_out(fetch, [address] * 20, args=(paths,), limit=20, io_timeout=10)
    pages = list(itertools.chain.from_iterable(outcome.value for outcome in outcomes))
    failed = [page for page in pages if page[1] != 200]
    print(f"{len(pages)} pages, {sum(size for _, _, size in pages)} bytes, {len(failed)} failed")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: python http_client.py ADDRESS PAGES", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
