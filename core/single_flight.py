"""Single flight: many callers who want the same thing at the same time share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


@dataclass(slots=True, eq=False)
class _Run(Generic[Found]):
    """A task, the number of callers for whose sake alone it runs, and whether it goes on without them."""

    task: asyncio.Task[Found]
    waiting: int = 0
    goes_on: bool = False


class SingleFlight(Generic[Key, Found]):
    """Runs `work` at most once per key at a time.

    The task goes on when its callers stop waiting, except those of `result_while_wanted`. A finished task is forgotten:
    no result is kept here. Every caller that waits gets the error of a failed task. Without such a caller the error is
    dropped, so `work` itself logs the errors that matter.
    """

    def __init__(self, work: Callable[[Key], Coroutine[Any, Any, Found]]) -> None:
        self._work = work
        self._running: dict[Key, _Run[Found]] = {}

    def start(self, key: Key) -> asyncio.Task[Found]:
        """The task that runs for this key, or a new one. A caller that awaits it must shield it, as `result` does."""
        run = self._run(key)
        run.goes_on = True
        return run.task

    async def result(self, key: Key) -> Found:
        """The result for this key. Raises what `work` raises."""
        return await asyncio.shield(self.start(key))

    async def result_within(self, key: Key, seconds: float | None) -> tuple[Found] | None:
        """The result for this key as a tuple of one, or None when it takes longer. Raises what `work` raises."""
        task = self.start(key)
        await asyncio.wait({task}, timeout=seconds)
        return (task.result(),) if task.done() else None

    async def result_while_wanted(self, key: Key, seconds: float | None = None) -> tuple[Found] | None:
        """Like `result_within`, but the task is cancelled when all its callers wait here and all are cancelled.

        It goes on after a caller has waited for `seconds`: somebody will ask again.
        """
        run = self._run(key)
        run.waiting += 1
        try:
            await asyncio.wait({run.task}, timeout=seconds)
        except asyncio.CancelledError:
            if run.waiting == 1 and not run.goes_on:
                run.task.cancel()
            raise
        finally:
            run.waiting -= 1
        if run.task.done():
            return (run.task.result(),)
        run.goes_on = True
        return None

    def cancel(self) -> set[asyncio.Task[Found]]:
        """Cancel every task; returns those that were running, so that the caller can wait for their end."""
        running = {run.task for run in self._running.values()}
        for task in running:
            task.cancel()
        return running

    def _run(self, key: Key) -> _Run[Found]:
        """What runs for this key. A task that is being cancelled is left to end, and another one takes its place."""
        run = self._running.get(key)
        if run is None or run.task.cancelling():
            run = self._running[key] = _Run(asyncio.create_task(self._work(key)))
            run.task.add_done_callback(partial(self._done, key, run))
        return run

    def _done(self, key: Key, run: _Run[Found], task: asyncio.Task[Found]) -> None:
        if self._running.get(key) is run:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: asyncio reports an error that no caller retrieved
