"""A client in handlers, as the first page has it."""

from evsockets import (
    ClientSocket,
    EventType,
    IoEvent,
    MarkerFramePicker,
    ReadEvent,
    RequestExecutor,
    WriteEvent,
    WriteOperation,
)


def on_write(event: WriteEvent) -> None:
    event.next_is_read(MarkerFramePicker(None, b"</html>", case_sensitive=False))


def on_read(event: ReadEvent) -> None:
    print(event.metadata.address, len(event.frame.data), event.frame.data.decode())


def on_connected(event: IoEvent) -> None:
    event.next_operation = WriteOperation([b"one", bytearray(b"two"), memoryview(b"three")])


with RequestExecutor(engine="libev") as executor:
    for host in ("github.com", "example.org"):
        executor.socket_bag.add_socket(
            ClientSocket(),
            WriteOperation(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode()),
            address=f"tls://{host}:443",
            connection_timeout=30,
            io_timeout=5.5,
            handler={EventType.WRITE: on_write, EventType.READ: [on_read], EventType.CONNECTED: on_connected},
        )
    executor.execute_request({"started": 1})
