"""The client jobs on evsockets as conversations, with many by `fan_out`; the flavour is the engine's name.

By hand, against `server reply` of the folder `native`: `many --port PORT --count 1000000 --concurrency 500`
tells by how many bytes the process has grown since the first tenth of them.
"""

from __future__ import annotations

import itertools

from evsockets import Conversation, EndOfStreamFramePicker, LineFramePicker, StreamContext, fan_out

from .job import (
    HOST,
    LINE,
    NAME,
    REPLY_SIZE,
    REQUEST,
    Finish,
    Job,
    parse_job,
    report,
    resident,
    run_client,
)

END = EndOfStreamFramePicker()
LINES = LineFramePicker()


async def ask(talk: Conversation) -> int:
    """One short request; the reply's size."""
    await talk.write(REQUEST)
    return len(await talk.read(END))


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    address = f"{'tls' if job.ca else 'tcp'}://{HOST}:{job.port}"
    context = StreamContext(ca_file=job.ca, server_hostname=NAME) if job.ca else None
    finished = 0
    targets = itertools.repeat(address, count)
    for outcome in fan_out(
        ask, targets, limit=job.concurrency, engine=job.flavour or None, stream_context=context
    ):
        if outcome.value != REPLY_SIZE:
            raise ConnectionError("short reply")
        finished += 1
    return finished


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    quota = count // connections
    busy = connections

    async def exchange(talk: Conversation) -> None:
        nonlocal busy
        sent = min(job.depth, quota)
        await talk.write(LINE * sent)
        for _ in range(quota):
            await talk.read(LINES)
            if sent < quota:
                sent += 1
                await talk.write(LINE)
        busy -= 1
        if not busy:
            finish()
            talk.executor.stop_request()
        await talk.sleep(3600)  # all connections are open at the end

    address = f"tcp://{HOST}:{job.port}"
    targets = itertools.repeat(address, connections)
    for _ in fan_out(exchange, targets, limit=connections, engine=job.flavour or None):
        pass
    return quota * connections


def many(job: Job) -> None:
    """Short requests, a tenth of them and then the others: what the others have left."""
    fanout(job, job.count // 10)
    before = resident()
    report(count=fanout(job, job.count - job.count // 10), before=before, bytes=resident() - before)


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.work == "many":
        many(chosen)
    else:
        run_client(chosen, fanout, lines)
