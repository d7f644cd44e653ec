"""The client jobs on evsockets; see `watchers` for the flavours.

With `+batch` after the engine lines are read in batches.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

from evsockets import (
    BatchFramePicker,
    ClientSocket,
    ConstantLimitationSolver,
    EndOfStreamFramePicker,
    EventType,
    FrameBatch,
    MarkerFramePicker,
    ReadEvent,
    ReadOperation,
    ShutdownWriteOperation,
    SocketExceptionEvent,
    StreamContext,
    WriteOperation,
)

from .job import CHUNK, HOST, LINE, NAME, REPLY_SIZE, REQUEST, Finish, Job, Stopwatch, parse_job, run_client
from .watchers import executor_of


def fail(event: SocketExceptionEvent) -> None:
    """End the run: nothing may go wrong in a benchmark."""
    raise event.exception


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    finished = 0

    def on_read(event: ReadEvent) -> None:
        nonlocal finished
        if len(event.frame.data) != REPLY_SIZE:
            raise ConnectionError("short reply")
        finished += 1

    operation = WriteOperation(REQUEST, then=ReadOperation(EndOfStreamFramePicker()))
    handler = {EventType.READ: on_read, EventType.EXCEPTION: fail}
    address = f"{'tls' if job.ca else 'tcp'}://{HOST}:{job.port}"
    context = StreamContext(ca_file=job.ca, server_hostname=NAME) if job.ca else None
    with executor_of(job) as executor:
        executor.with_limitation_solver(ConstantLimitationSolver(job.concurrency))
        add = executor.socket_bag.add_socket
        for _ in range(count):
            add(ClientSocket(), operation, handler=handler, address=address, stream_context=context)
        executor.execute_request()
    return finished


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    quota = count // connections
    busy = connections
    line = MarkerFramePicker(None, b"\n")

    def on_read(event: ReadEvent) -> None:
        progress: list[int] = event.user_context
        progress[1] += 1
        if progress[0] < quota:
            progress[0] += 1
            event.next_is_write(LINE, read)
        else:
            go_on(event, progress)

    def on_batch(event: ReadEvent[FrameBatch]) -> None:
        progress: list[int] = event.user_context
        count = len(event.frame.frames)
        progress[1] += count
        if progress[0] < quota:
            count = min(count, quota - progress[0])
            progress[0] += count
            event.next_is_write(LINE * count, read)
        else:
            go_on(event, progress)

    def go_on(event: ReadEvent, progress: list[int]) -> None:
        """All lines are sent."""
        nonlocal busy
        if progress[1] < quota:
            event.next_is(read)
        else:
            busy -= 1
            if not busy:
                finish()
                event.executor.stop_request()

    batched = job.flavour.endswith("+batch")
    read: ReadOperation = ReadOperation(BatchFramePicker(line) if batched else line)
    first = min(job.depth, quota)
    operation = WriteOperation(LINE * first, then=read)
    handler = {EventType.READ: on_batch if batched else on_read, EventType.EXCEPTION: fail}
    address = f"tcp://{HOST}:{job.port}"
    with executor_of(job) as executor:
        for _ in range(connections):
            executor.socket_bag.add_socket(
                ClientSocket(),
                operation,
                handler=handler,
                address=address,
                user_context=[first, 0],
                keep_alive=True,
            )
        executor.execute_request()
    return quota * connections


def source(job: Job) -> int:
    """Receive everything the server has."""
    total = 0
    read = ReadOperation()

    def on_read(event: ReadEvent) -> None:
        nonlocal total
        total += len(event.frame.data)
        event.next_is(read)

    with executor_of(job) as executor:
        executor.socket_bag.add_socket(
            ClientSocket(),
            read,
            handler={EventType.READ: on_read, EventType.EXCEPTION: fail},
            address=f"tcp://{HOST}:{job.port}",
        )
        executor.execute_request()
    return total


def sink(job: Job) -> int:
    """Send `job.count` bytes and wait until the server has them."""
    answers: list[bytes] = []
    chunks: Iterator[bytes] = itertools.repeat(CHUNK, job.count // len(CHUNK))
    end = ShutdownWriteOperation(ReadOperation())
    with executor_of(job) as executor:
        executor.socket_bag.add_socket(
            ClientSocket(),
            WriteOperation(chunks, then=end),
            handler={
                EventType.READ: lambda event: answers.append(event.frame.data),
                EventType.EXCEPTION: fail,
            },
            address=f"tcp://{HOST}:{job.port}",
        )
        executor.execute_request()
    if answers != [b"k"]:
        raise ConnectionError("the server did not take everything")
    return job.count


def turn(job: Job) -> None:
    """A pair of sockets that keep each other busy, beside `job.concurrency` idle connections.

    Both ends are in this process: each turn finds one socket ready, and no other process is waited for.
    """
    idle = passed = 0
    watch: Stopwatch | None = None
    read = ReadOperation()

    def on_idle(_event: ReadEvent) -> None:
        nonlocal idle
        idle += 1

    def on_busy(event: ReadEvent) -> None:
        nonlocal passed, watch
        event.next_is_write(event.frame.data, read)
        if watch is None and idle == job.concurrency:
            watch = Stopwatch()
            passed = 0
        passed += 1
        if watch is not None and passed > job.count:
            watch.report(job.count)
            event.executor.stop_request()

    with executor_of(job) as executor:
        add = executor.socket_bag.add_socket
        for _ in range(job.concurrency):
            add(
                ClientSocket(),
                WriteOperation(LINE, then=read),
                handler={EventType.READ: on_idle, EventType.EXCEPTION: fail},
                address=f"tcp://{HOST}:{job.port}",
                keep_alive=True,
                connection_timeout=None,
                io_timeout=None,
            )
        left, right = socket.socketpair()
        handler = {EventType.READ: on_busy, EventType.EXCEPTION: fail}
        add(ClientSocket.from_socket(left), WriteOperation(LINE, then=read), handler=handler)
        add(ClientSocket.from_socket(right), read, handler=handler)
        executor.execute_request()


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.work == "turn":
        turn(chosen)
    else:
        run_client(chosen, fanout, lines, source, sink)
