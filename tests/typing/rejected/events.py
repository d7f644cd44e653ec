"""Mistakes inside handlers."""

from evsockets import (
    AcceptEvent,
    BatchFramePicker,
    Event,
    FrameBatch,
    IoEvent,
    RawFramePicker,
    ReadEvent,
    ReadOperation,
    SocketExceptionEvent,
    TimeoutEvent,
    WriteEvent,
)


def on_event(event: Event) -> None:
    event.next_is_read()  # error: attr-defined, reportAttributeAccessIssue
    print(event.frame)  # error: attr-defined, reportAttributeAccessIssue
    event.user_context = {}  # error: misc, reportAttributeAccessIssue


def on_disconnected(event: Event) -> None:
    event.next_operation = ReadOperation()  # error: attr-defined, reportAttributeAccessIssue


def on_connected(event: IoEvent) -> None:
    event.next_operation = b"hello"  # error: assignment, reportAttributeAccessIssue
    event.next_is_write("hello")  # error: arg-type, reportArgumentType
    event.next_is_write(b"hello", RawFramePicker())  # error: arg-type, reportArgumentType
    event.next_is_read(b"\n")  # error: arg-type, reportArgumentType
    event.next_is(RawFramePicker())  # error: arg-type, reportArgumentType
    event.next_is_read(BatchFramePicker())  # error: call-arg, reportCallIssue


def on_read(event: ReadEvent) -> None:
    print(event.frame.data.split("\n"))  # error: arg-type, reportArgumentType
    print(event.frame + b"\n")  # error: operator, reportOperatorIssue
    print(event.frame.frames)  # error: attr-defined, reportAttributeAccessIssue
    print(event.data)  # error: attr-defined, reportAttributeAccessIssue


def on_batch(event: ReadEvent[FrameBatch]) -> None:
    for frame in event.frame:  # error: attr-defined, reportGeneralTypeIssues
        print(frame)
    print(event.frame.frames[0].frames)  # error: attr-defined, reportAttributeAccessIssue


def on_write(event: WriteEvent) -> None:
    event.operation.data = "late"  # error: assignment, reportAttributeAccessIssue
    print(event.frame)  # error: attr-defined, reportAttributeAccessIssue


def on_accept(event: AcceptEvent) -> None:
    event.executor.socket_bag.add_socket(event.socket.client_socket, ReadOperation())  # error: attr-defined, reportAttributeAccessIssue
    print(event.remote_address[0])  # error: index, reportOptionalSubscript


def on_timeout(event: TimeoutEvent) -> None:
    print(event.exception)  # error: attr-defined, reportAttributeAccessIssue


def on_exception(event: SocketExceptionEvent) -> None:
    print(event.exception.errno)  # error: attr-defined, reportAttributeAccessIssue
    event.enable_one_more_attempt()  # error: attr-defined, reportAttributeAccessIssue


def on_finalize(event: Event) -> None:
    metadata = event.metadata
    metadata.bytes_sent = 0  # error: misc, reportAttributeAccessIssue
    metadata.tls = None  # error: misc, reportAttributeAccessIssue
    metadata.io_timeout = "5"  # error: assignment, reportAttributeAccessIssue
    metadata.address = b"tcp://a:1"  # error: assignment, reportAttributeAccessIssue
    metadata.stream_context = {"verfy": False}  # error: assignment, reportAttributeAccessIssue
    metadata.timeout = 5  # error: attr-defined, reportAttributeAccessIssue
    host, port = metadata.remote_address  # error: misc, reportGeneralTypeIssues
    print(metadata.request_timeout + 1)  # error: operator, reportOptionalOperand
    print(metadata.connection_start_time - metadata.bytes_sent)  # error: operator, reportOptionalOperand


def on_initialize(event: IoEvent) -> None:
    print(event.metadata.tls.version)  # error: union-attr, reportOptionalMemberAccess
    print(event.metadata.tls.peer_certificate["subject"])  # error: union-attr, reportOptionalMemberAccess
    print(event.context.set("name"))  # error: call-arg, reportCallIssue
