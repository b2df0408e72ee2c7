"""A coroutine that is cancelled before it began closes those that it was given: warnings are errors here."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from api.graphql.execution.owning import Owning


async def value() -> int:
    return 1


async def given(one: Coroutine[Any, Any, int]) -> int:
    return await one


def enclosing(several: dict[str, Coroutine[Any, Any, int]]) -> Coroutine[Any, Any, int]:
    async def total() -> int:
        return sum([await one for one in several.values()])

    return total()


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_what_it_was_given_is_closed(end: str) -> None:
    inner = [value(), value(), value()]
    for owning in (Owning(given(inner[0])), Owning(given(given(inner[1]))), Owning(enclosing({"a": inner[2]}))):
        if end == "close":
            owning.close()
            continue
        task = asyncio.ensure_future(owning)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for one in inner:
        with pytest.raises(RuntimeError, match="cannot reuse"):
            one.send(None)
    gc.collect()


async def test_it_is_awaited_as_a_coroutine_is() -> None:
    assert await Owning(given(value())) == 1
    assert [*await asyncio.gather(Owning(given(value())), Owning(value()))] == [1, 1]


async def test_one_that_has_begun_ends_by_itself() -> None:
    ended = list[str]()

    async def waits(started: asyncio.Event) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("itself")

    started = asyncio.Event()
    task = asyncio.ensure_future(Owning(waits(started)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["itself"]
