"""Mistakes in what a socket is added with."""

from evsockets import (
    ClientSocket,
    Configuration,
    Event,
    EventType,
    RawFramePicker,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    TimeoutEvent,
    WriteEvent,
    WriteOperation,
)

executor = RequestExecutor()
bag = executor.socket_bag
client, read = ClientSocket(), ReadOperation()


def on_read(event: ReadEvent) -> None: ...
def on_write(event: WriteEvent) -> None: ...
def on_timeout(event: TimeoutEvent) -> None: ...
def on_event(event: Event, more: int) -> None: ...
def nothing() -> None: ...


# what
bag.add_socket(read, client)  # error: arg-type, reportArgumentType
bag.add_socket(client)  # error: call-arg, reportCallIssue
bag.add_socket(client, b"GET / HTTP/1.0\r\n\r\n")  # error: arg-type, reportArgumentType
bag.add_socket(client, ReadOperation)  # error: arg-type, reportArgumentType
bag.add_socket(ClientSocket, read)  # error: arg-type, reportArgumentType
bag.add_socket("tcp://127.0.0.1:7", read)  # error: arg-type, reportArgumentType

# metadata
bag.add_socket(client, read, adress="tcp://127.0.0.1:7")  # error: call-arg, reportCallIssue
bag.add_socket(client, read, address=("127.0.0.1", 7))  # error: arg-type, reportArgumentType
bag.add_socket(client, read, io_timeout="5")  # error: arg-type, reportArgumentType
bag.add_socket(client, read, timeout=5)  # error: call-arg, reportCallIssue
bag.add_socket(client, read, keep_alive=None)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, bytes_sent=0)  # error: call-arg, reportCallIssue
bag.set_metadata(client, on_read=on_read)  # error: call-arg, reportCallIssue
bag.set_metadata(client, connection_timeout=b"1")  # error: arg-type, reportArgumentType

# settings of the stream
bag.add_socket(client, read, stream_context={"no_delya": True})  # error: arg-type, reportArgumentType
bag.add_socket(client, read, stream_context={"backlog": "many"})  # error: arg-type, reportArgumentType
bag.add_socket(client, read, stream_context=True)  # error: arg-type, reportArgumentType
StreamContext(alpn_protocols="h2")  # error: arg-type, reportArgumentType
StreamContext(verify="yes")  # error: arg-type, reportArgumentType
StreamContext(options=(1, 2, 3))  # error: arg-type, reportArgumentType
StreamContext(options=[(1, 2, "3")])  # error: list-item, reportArgumentType
StreamContext(proxy_protocol=1)  # error: arg-type, reportArgumentType
StreamContext(bind_to=8080)  # error: arg-type, reportArgumentType
StreamContext(True)  # error: call-arg, reportCallIssue
Configuration(preferred_engines="libev")  # error: arg-type, reportArgumentType
Configuration(io_timeuot=1)  # error: call-arg, reportCallIssue
Configuration(stream_context={"tls": True})  # error: arg-type, reportArgumentType

# handlers
bag.add_socket(client, read, handler=on_read)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, handler=nothing)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, handler=on_event)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, handler=on_read(None))  # error: arg-type, reportArgumentType
bag.add_socket(client, read, handler={"read": on_read})  # error: dict-item, reportArgumentType
bag.add_socket(client, read, handler={EventType.READ: on_event})  # error: dict-item, reportArgumentType
bag.add_socket(client, read, handler={EventType.READ: "on_read"})  # error: dict-item, reportArgumentType
bag.add_socket(client, read, handler={EventType.READ: None})  # error: dict-item, reportArgumentType
bag.add_socket(client, read, on_read=on_write)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, on_finalize=on_read)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, on_exception=on_timeout)  # error: arg-type, reportArgumentType
bag.add_socket(client, read, on_reads=on_read)  # error: call-arg, reportCallIssue
bag.add_socket(client, read, on_write=[on_write])  # error: arg-type, reportArgumentType
executor.with_event_handler(on_write)  # error: arg-type, reportArgumentType
executor.with_event_handler(None)  # error: arg-type, reportArgumentType

# operations
WriteOperation("GET / HTTP/1.0\r\n\r\n")  # error: arg-type, reportArgumentType
WriteOperation(["one", "two"])  # error: list-item, reportArgumentType
WriteOperation(80)  # error: arg-type, reportArgumentType
WriteOperation(b"", then=RawFramePicker())  # error: arg-type, reportArgumentType
WriteOperation(b"", read)  # error: call-arg, reportCallIssue
ReadOperation(b"\r\n")  # error: arg-type, reportArgumentType
ReadOperation(RawFramePicker)  # error: arg-type, reportArgumentType
ReadOperation(1024)  # error: arg-type, reportArgumentType
