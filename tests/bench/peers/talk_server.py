"""The server jobs on evsockets as conversations; the flavour is the engine, `ENGINE-post` answers by post."""

from __future__ import annotations

from evsockets import Configuration, Conversation, LineFramePicker, RequestExecutor, StreamContext, serve

from .job import HOST, announce, parse_job


def main() -> None:
    """Serve for ever."""
    job = parse_job()
    engine, _, way = job.flavour.partition("-")
    lines = job.work == "lines"
    picker = LineFramePicker(keep_end=True) if lines else None

    async def answer(talk: Conversation) -> None:
        async for frame in talk.frames(picker):
            await talk.write(frame.data)

    async def post(talk: Conversation) -> None:
        async for frame in talk.frames(picker):
            talk.post(frame.data)

    def ready(executor: RequestExecutor, address: tuple[str, int]) -> None:
        announce(address[1])

    context = StreamContext(backlog=4096)
    if job.certificate:
        context = StreamContext(backlog=4096, certificate=job.certificate, private_key=job.key)
    serve(
        post if way == "post" else answer,
        f"{'tls' if job.certificate else 'tcp'}://{HOST}:0",
        engine=engine or None,
        configuration=Configuration(),
        drain_timeout=0,
        ready=ready,
        stream_context=context,
    )


if __name__ == "__main__":
    main()
