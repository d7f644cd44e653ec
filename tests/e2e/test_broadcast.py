"""What many say to one within a turn does not pile up for whoever reads it."""

from __future__ import annotations

import contextlib

import pytest

from evsockets import Conversation, RequestExecutor
from support.talks import talks

SPEAKERS, SIZE = 20, 80_000


@pytest.mark.parametrize("chunk", [SIZE, 100])
def test_much_leaves_before_the_end_of_the_turn(executor: RequestExecutor, chunk: int) -> None:
    unsent: list[int] = []
    listeners: list[Conversation] = []
    heard = bytearray()

    async def listener(talk: Conversation) -> None:
        listeners.append(talk)
        people.peers[0].setblocking(False)
        while len(heard) < SPEAKERS * SIZE:
            await talk.sleep(0)
            with contextlib.suppress(BlockingIOError):
                heard.extend(people.peers[0].recv(1 << 20))

    async def speaker(talk: Conversation) -> None:
        await talk.read()
        for _ in range(SIZE // chunk):
            most = listeners[0].post(bytes(chunk))
        unsent.append(most)

    with talks(executor) as people:
        people.add(listener)
        for _ in range(SPEAKERS):
            people.add(speaker)
        for peer in people.peers[1:]:
            peer.sendall(b"now")  # so that all speak in one turn
        executor.execute_request()
    assert unsent[0] == unsent[1] == SIZE
    assert len(heard) == SPEAKERS * SIZE
