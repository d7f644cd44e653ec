"""The devices of the network that answer an SSDP search (UPnP): one request to a group, an answer from each.

    python discover.py udp://239.255.255.250:1900 [INTERFACE]

Each device answers from its own address; a socket connected to the group would not receive the answer.
"""

from __future__ import annotations

import re
import sys

from evsockets import (
    ClientSocket,
    Event,
    EventType,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    WriteOperation,
)

SEARCH = b'M-SEARCH * HTTP/1.1\r\nHOST: %s\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
HEADER = re.compile(rb"^([\w.-]+): *(.*?)\r?$", re.MULTILINE)
SECONDS = 2  # a device may take the one of MX until it answers


class Search:
    """Prints each device once."""

    def __init__(self, executor: RequestExecutor, address: str, interface: str | None) -> None:
        self.found: set[tuple[str, bytes]] = set()
        executor.socket_bag.add_socket(
            ClientSocket(),
            WriteOperation(SEARCH % address.partition("://")[2].encode(), then=ReadOperation()),
            address=address,
            request_timeout=SECONDS,
            stream_context=StreamContext(
                connect_datagrams=False, multicast_ttl=2, multicast_interface=interface
            ),
            handler={EventType.READ: self.on_read, EventType.TIMEOUT: self.on_end},
        )

    def on_read(self, event: ReadEvent) -> None:
        sender = event.frame.remote_address
        assert isinstance(sender, tuple)  # not the path of a unix socket
        host = sender[0]
        headers = {name.upper(): value for name, value in HEADER.findall(event.frame.data)}
        device = host, headers.get(b"LOCATION", b"")
        if device[1] and device not in self.found:
            self.found.add(device)
            print(host, shown(device[1]), shown(headers.get(b"SERVER", b"")))
        event.next_is_read()

    def on_end(self, event: Event) -> None:
        print("devices:", len(self.found))


def shown(header: bytes) -> str:
    """Text of a device without control characters."""
    return ascii(header.decode("latin-1"))[1:-1]


def main(address: str, interface: str | None = None) -> None:
    """Search for `SECONDS`; a failure to send is logged."""
    with RequestExecutor() as executor:
        Search(executor, address, interface)
        executor.execute_request()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or "://" not in sys.argv[1]:
        print("usage: python discover.py ADDRESS [INTERFACE]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
