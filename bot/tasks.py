"""The one place that starts work beside the caller: it keeps a reference until the end and logs what went wrong."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

from structlog.contextvars import clear_contextvars

log = logging.getLogger(__name__)

T = TypeVar("T")
_running: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Start `work` in the running loop. Whoever spawns it awaits or cancels the task when it stops.

    What it logs is not about the message during which it happened to be started.
    """
    context = contextvars.copy_context()
    context.run(clear_contextvars)
    task = asyncio.create_task(work, name=name, context=context)  # noqa: TID251 - this is that one place
    _running.add(task)
    task.add_done_callback(_ended)
    return task


async def in_pool(pool: Executor, call: Callable[..., T], *args: Any) -> T:
    """Run a call in a thread of this pool; what it logs is about what the caller is at."""
    return await asyncio.get_running_loop().run_in_executor(pool, contextvars.copy_context().run, call, *args)


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.error("task %s ended with an error", task.get_name(), exc_info=task.exception())
