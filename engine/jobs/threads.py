"""Runs a long computation in a thread of its own that can be interrupted: a training that is stopped ends soon."""

import asyncio
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final, TypeVar

AGAIN_AFTER: Final = 0.2  # seconds between interruptions of a thread that has not ended

T = TypeVar("T")


class Interrupted(BaseException):
    """Raised inside an interrupted thread; no handler of `Exception` catches it."""


async def in_own_thread(compute: Callable[[], T]) -> T:
    """The result of `compute`. When this is cancelled, `Interrupted` is raised inside the thread.

    The thread ends at the next step of its Python code: of a fit, after the running batch.
    """
    loop, context = asyncio.get_running_loop(), copy_context()
    outcome: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        with suppress(Interrupted):  # one that comes after the computation has ended, or before it has begun
            try:
                result = context.run(compute)
            except BaseException as error:
                _settle(loop, outcome, outcome.set_exception, error)
            else:
                _settle(loop, outcome, outcome.set_result, result)

    thread = threading.Thread(target=run, name="training")
    thread.start()
    try:
        return await outcome
    except asyncio.CancelledError:
        threading.Thread(target=_interrupt, args=(thread,), daemon=True).start()
        raise


def _settle(
    loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[T], settle: Callable[[Any], None], value: Any
) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if outcome.done() else settle(value))


def _interrupt(thread: threading.Thread) -> None:
    """Interrupt the thread until it has ended: code that it is in may swallow an exception."""
    while thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted))
        thread.join(AGAIN_AFTER)
