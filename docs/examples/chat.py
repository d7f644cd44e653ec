"""A chat: each line of a member is sent to all others; a member that reads too slowly is disconnected.

    python chat.py tcp://127.0.0.1:8888

The queue of each member is limited to `MOST` bytes, so a member that stops reading costs no more memory and
delays no other. A member that reads is never disconnected, however much the others send at once, because
posted bytes are sent as fast as the peer receives.
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
#: The limit of a member's queue, in bytes.
MOST = 150_000


class Room:
    """The listener, and the members present."""

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
        # No time-out for silent members; an unfinished line at the end is no error.
        event.executor.socket_bag.add_socket(
            event.client_socket, talk, io_timeout=None, on_exception=lambda event: None
        )

    async def member(self, talk: Conversation) -> None:
        """One member: its lines are posted to the others."""
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
    """Chat until SIGTERM; then print how many members were disconnected."""
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
