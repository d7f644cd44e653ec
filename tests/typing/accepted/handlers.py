"""Every way to say who listens."""

from collections.abc import Callable

from evsockets import (
    AcceptEvent,
    BatchFramePicker,
    CallbackEventHandler,
    ClientSocket,
    DataAlertEvent,
    Event,
    EventMultiHandler,
    EventType,
    FrameBatch,
    IoEvent,
    RawFramePicker,
    ReadEvent,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    SocketExceptionEvent,
    TimeoutEvent,
    TlsDataFlushEventHandler,
    WriteEvent,
)
from evsockets.typing import HandlerMapping


class Client:
    """Methods, for everything and for one type of event each."""

    def __call__(self, event: Event) -> None:
        print(event.type, event.socket, event.executor.is_executing, event.context.get("started"))

    def on_io(self, event: IoEvent) -> None:
        event.next_is_write(b"hello", then=ReadOperation())

    def on_read(self, event: ReadEvent) -> int:
        return len(event.frame)

    def on_batch(self, event: ReadEvent[FrameBatch]) -> None:
        print([frame.data for frame in event.frame.frames])

    def on_write(self, event: WriteEvent) -> None:
        event.operation.data = [b"one", b"two"]
        event.next_operation = None

    def on_accept(self, event: AcceptEvent) -> None:
        event.executor.socket_bag.add_socket(event.client_socket, ReadOperation(), handler=self)

    def on_alert(self, event: DataAlertEvent) -> None:
        print(event.attempt, event.total_attempts)

    def on_timeout(self, event: TimeoutEvent) -> None:
        if event.phase == "connecting":
            event.enable_one_more_attempt()

    def on_exception(self, event: SocketExceptionEvent) -> None:
        print(repr(event.exception))


def log(event: Event) -> None:
    print(event)


client = Client()
events: list[Event] = []
mapping: HandlerMapping = {EventType.READ: client.on_read, EventType.WRITE: [client.on_write, log]}
plain: dict[EventType, Callable[[Event], None]] = {EventType.FINALIZE: log}
executor = RequestExecutor()
add = executor.socket_bag.add_socket
add(ClientSocket(), ReadOperation(), handler=client)
add(ClientSocket(), ReadOperation(), handler=log)
add(ClientSocket(), ReadOperation(), handler=events.append)
add(ClientSocket(), ReadOperation(), handler=lambda event: print(event.type))
add(ClientSocket(), ReadOperation(), handler=None)
add(ClientSocket(), ReadOperation(), handler=mapping)
add(ClientSocket(), ReadOperation(), handler=plain)
add(ClientSocket(), ReadOperation(), handler={EventType.READ: lambda event: print(event.frame)})
add(
    ClientSocket(),
    ReadOperation(),
    on_initialize=client.on_io,
    on_connected=client.on_io,
    on_accept=client.on_accept,
    on_read=client.on_read,
    on_oob=client.on_read,
    on_write=client.on_write,
    on_data_alert=client.on_alert,
    on_timeout=client.on_timeout,
    on_exception=client.on_exception,
    on_disconnected=log,
    on_finalize=None,
)
add(ClientSocket(), ReadOperation(BatchFramePicker(RawFramePicker())), on_read=client.on_batch)
add(ClientSocket(), ReadOperation(), on_read=lambda event: print(event.frame.data))
executor.with_event_handler(CallbackEventHandler(mapping))
executor.with_event_handler(EventMultiHandler([client, mapping, log]))
executor.with_event_handler(RemoveFinishedSocketsEventHandler(TlsDataFlushEventHandler(plain)))
