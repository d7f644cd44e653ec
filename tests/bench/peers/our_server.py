"""The server jobs on evsockets; see `watchers` for the flavours.

With `+direct` after the engine datagrams are served by a `DatagramOperation`, without a life for each; with
`+batch` lines are read in batches.
"""

from __future__ import annotations

from evsockets import (
    AcceptEvent,
    BatchFramePicker,
    DatagramOperation,
    Event,
    EventType,
    FramePicker,
    MarkerFramePicker,
    ReadEvent,
    ReadOperation,
    ServerSocket,
    StreamContext,
)

from .job import HOST, announce, parse_job
from .watchers import executor_of


def main() -> None:
    """Serve for ever."""
    job = parse_job()
    direct = job.flavour.endswith("+direct")
    datagrams = job.work == "udp"
    picker: FramePicker | None = MarkerFramePicker(None, b"\n") if job.work == "lines" else None
    if picker is not None and job.flavour.endswith("+batch"):
        picker = BatchFramePicker(picker)
    read = ReadOperation(picker)
    again = None if datagrams else read

    def on_read(event: ReadEvent) -> None:
        event.next_is_write(event.frame.data, again)

    handler = {EventType.READ: on_read}
    first = DatagramOperation() if direct else ReadOperation()

    def on_accept(event: AcceptEvent) -> None:
        event.executor.socket_bag.add_socket(event.client_socket, read, handler=handler)

    def on_connected(event: Event) -> None:
        announce(event.metadata.local_address[1])

    context = StreamContext(backlog=4096)
    if job.certificate:
        context = StreamContext(backlog=4096, certificate=job.certificate, private_key=job.key)
    scheme = "udp" if datagrams else "tls" if job.certificate else "tcp"
    with executor_of(job) as executor:
        executor.socket_bag.add_socket(
            ServerSocket(),
            first,
            handler={
                EventType.ACCEPT: on_accept,
                EventType.CONNECTED: on_connected,
                **(handler if direct else {}),
            },
            address=f"{scheme}://{HOST}:0",
            stream_context=context,
        )
        executor.execute_request()


if __name__ == "__main__":
    main()
