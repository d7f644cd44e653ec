"""A chat: each line of a member goes to all the others; a member who does not keep up is sent away.

    python chat.py tcp://127.0.0.1:8888

What waits for each member is bounded by `MOST`, so one who stops reading costs that much and no more, and
holds up nobody. A member who reads is never sent away, however much the others say at once: what is posted
leaves as fast as the peer takes it.
"""

from __future__ import annotations

import signal
import sys

from evsockets import (
    AcceptEvent,
    Configuration,
    Conversation,
    ConversationOperation,
    Event,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
)

LINE = MarkerFramePicker(None, b"\n", max_length=4096)
#: Bytes that may wait for a member.
MOST = 150_000


class Room:
    """The listener, and who is there."""

    def __init__(self, executor: RequestExecutor, address: str) -> None:
        self.members: set[Conversation] = set()
        self.sent_away = 0
        executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=address,
            stream_context={"backlog": 1000},
            on_connected=self.on_listening,
            on_accept=self.on_accept,
        )

    def on_listening(self, event: Event) -> None:
        here = event.metadata.local_address
        assert isinstance(here, tuple)  # not the path of a unix socket
        print("tcp://%s:%d" % here[:2], "is a chat", flush=True)

    def on_accept(self, event: AcceptEvent) -> None:
        talk = ConversationOperation(self.member)
        # Nobody has to say anything; and who leaves in the midst of a line just leaves.
        event.executor.socket_bag.add_socket(
            event.client_socket, talk, io_timeout=None, on_exception=lambda event: None
        )

    async def member(self, talk: Conversation) -> None:
        """One member: its lines go to the others, theirs are posted here."""
        self.members.add(talk)
        try:
            async for line in talk.frames(LINE):
                for other in self.members - {talk}:
                    if other.post(line.data) > MOST:
                        self.sent_away += 1
                        other.cancel()
        finally:
            self.members.discard(talk)


def main(address: str) -> None:
    """Chat until SIGTERM; then tell how many members were sent away."""
    with RequestExecutor(configuration=Configuration(isolate_handler_errors=True)) as executor:
        room = Room(executor, address)
        signal.signal(signal.SIGTERM, lambda *_: executor.stop_request())
        executor.execute_request()
        print("sent away:", room.sent_away)


if __name__ == "__main__":
    if len(sys.argv) != 2 or "://" not in sys.argv[1]:
        print("usage: python chat.py ADDRESS", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])
