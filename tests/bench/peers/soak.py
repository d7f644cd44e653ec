"""A server and its clients in one process: connections that come and go, ten lines there and back on each.

The memory held when a tenth of them has gone is compared with that at the end.
"""

from __future__ import annotations

from evsockets import (
    AcceptEvent,
    ClientSocket,
    ConstantLimitationSolver,
    Event,
    EventType,
    LineFramePicker,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)

from .job import LINE, Job, parse_job, report, resident

LINES = 10
#: Each has as many ports as clients can use at a time, and some of those wait for a minute after their end.
HOSTS = [f"127.0.0.{number}" for number in range(1, 51)]


def soak(job: Job) -> None:
    """`job.count` connections, `job.concurrency` at a time."""
    read = ReadOperation(LineFramePicker())
    whatever = ReadOperation()
    begun = ended = lines = port = 0
    held: list[int] = []

    def on_accept(event: AcceptEvent) -> None:
        event.executor.socket_bag.add_socket(event.client_socket, whatever, handler=serving)

    def echo(event: ReadEvent) -> None:
        event.next_is_write(event.frame.data, whatever)

    def on_line(event: ReadEvent) -> None:
        nonlocal lines
        lines += 1
        event.user_context.append(None)
        if len(event.user_context) < LINES:
            event.next_is_write(LINE, read)

    def on_end(event: Event) -> None:
        nonlocal ended
        ended += 1
        event.executor.socket_bag.remove_socket(event.socket)
        if ended == job.count // 10:
            held.append(resident())
        if begun < job.count:
            begin(event.executor)
        elif ended == job.count:
            event.executor.stop_request()

    def begin(executor: RequestExecutor) -> None:
        nonlocal begun
        address = f"tcp://{HOSTS[begun % len(HOSTS)]}:{port}"
        begun += 1
        first = WriteOperation(LINE, then=read)
        executor.socket_bag.add_socket(
            ClientSocket(), first, handler=asking, address=address, user_context=[]
        )

    def on_listening(event: Event) -> None:
        nonlocal port
        port = event.metadata.local_address[1]
        for _ in range(min(job.concurrency, job.count)):
            begin(event.executor)

    def fail(event: Event) -> None:
        raise getattr(event, "exception", ConnectionError(repr(event)))

    failing = {EventType.EXCEPTION: fail, EventType.TIMEOUT: fail}
    serving = {EventType.READ: echo, **failing}
    asking = {EventType.READ: on_line, EventType.FINALIZE: on_end, **failing}
    listening = {EventType.ACCEPT: on_accept, EventType.CONNECTED: on_listening, **failing}
    with RequestExecutor(job.flavour or None) as executor:
        executor.with_limitation_solver(ConstantLimitationSolver(2 * job.concurrency + 1))
        executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), handler=listening, address="tcp://0.0.0.0:0"
        )
        executor.execute_request()
    if lines != LINES * job.count:
        raise ConnectionError(f"{lines} lines came back on {job.count} connections")
    report(count=ended, lines=lines, before=held[0], after=resident())


if __name__ == "__main__":
    soak(parse_job())
