"""Single flight: many callers who want the same thing at the same time share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class SingleFlight(Generic[Key, Found]):
    """Runs `work` at most once per key at a time; the task goes on when its callers stop waiting.

    A finished task is forgotten: no result is kept here. Every caller that waits gets the error of a failed task.
    Without such a caller the error is dropped, so `work` itself logs the errors that matter.
    """

    def __init__(self, work: Callable[[Key], Coroutine[Any, Any, Found]]) -> None:
        self._work = work
        self._running: dict[Key, asyncio.Task[Found]] = {}

    def start(self, key: Key) -> asyncio.Task[Found]:
        """The task that runs for this key, or a new one. A caller that awaits it must shield it, as `result` does."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._work(key))
            task.add_done_callback(partial(self._done, key))
        return task

    async def result(self, key: Key) -> Found:
        """The result for this key. Raises what `work` raises."""
        return await asyncio.shield(self.start(key))

    async def result_within(self, key: Key, seconds: float | None) -> tuple[Found] | None:
        """The result for this key as a tuple of one, or None when it takes longer. Raises what `work` raises."""
        task = self.start(key)
        await asyncio.wait({task}, timeout=seconds)
        return (task.result(),) if task.done() else None

    def cancel(self) -> set[asyncio.Task[Found]]:
        """Cancel every task; returns those that were running, so that the caller can wait for their end."""
        running = set(self._running.values())
        for task in running:
            task.cancel()
        return running

    def _done(self, key: Key, task: asyncio.Task[Found]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: asyncio reports an error that no caller retrieved
