"""An executor's run inside a running asyncio loop: turns between the loop's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from .executor import RequestExecutor


async def run_in_asyncio(executor: RequestExecutor, context: Any) -> None:
    """Run `executor` to its end. The loop watches the engine's descriptor; every turn is `turn(0)`."""
    import asyncio  # whoever runs this has it; others need not pay for it

    loop = asyncio.get_running_loop()
    descriptor = executor.fileno()
    executor.start_request(context)
    executor._driven = True
    done: asyncio.Future[None] = loop.create_future()
    timer: asyncio.Handle | None = None
    watching = False

    def turn() -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
            timer = None
        if done.done():
            return
        if not executor.is_executing:  # somebody else took the last turn
            done.set_result(None)
            return
        try:
            more = executor.turn(0)
        except (KeyboardInterrupt, SystemExit) as error:
            if not done.done():
                done.set_exception(RuntimeError(f"the run was ended by {error!r}"))
                done.exception()
            raise
        except BaseException as error:
            if not done.done():
                if isinstance(error, StopIteration):
                    wrapped = RuntimeError("a handler raised StopIteration")
                    wrapped.__cause__ = error
                    done.set_exception(wrapped)
                else:
                    done.set_exception(error)
            return
        if not more:
            if not done.done():  # a handler may have cancelled the await
                done.set_result(None)
            return
        patience = executor.patience()
        if patience == 0:
            timer = loop.call_soon(turn)
        elif patience is not None:
            timer = loop.call_later(patience, turn)

    try:
        loop.add_reader(descriptor, turn)
        watching = True
        timer = loop.call_soon(turn)
        await done
    except BaseException as error:
        if executor.is_executing:
            executor._abort(error)
        raise
    finally:
        if watching:
            loop.remove_reader(descriptor)
        if timer is not None:
            timer.cancel()
