"""Many pages of one host over twenty kept connections: twenty conversations share the work.

    python http_client.py tcp://127.0.0.1:80 1000
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator

from evsockets import Conversation, FixedLengthFramePicker, MarkerFramePicker, fan_out

HEAD = MarkerFramePicker(None, b"\r\n\r\n", max_length=65_536)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


async def fetch(talk: Conversation, paths: Iterator[str]) -> list[tuple[str, int, int]]:
    """Ask for one path after the other, as long as there are any: path, status and size of each."""
    pages = []
    for path in paths:
        await talk.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await talk.read(HEAD)).data
        length = LENGTH.search(head)
        body = await talk.read(FixedLengthFramePicker(int(length[1]) if length else 0))
        pages.append((path, int(head.split(maxsplit=2)[1]), len(body)))
    return pages


def main(address: str, count: str) -> None:
    # One iterator for all: whoever is done takes the next.
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
