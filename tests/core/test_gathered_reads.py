"""What many callers ask for one by one is read with few queries."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from core.gathered_reads import GatheredReads


class Store:
    """Keeps the upper case of every key but `none`, and remembers the queries."""

    def __init__(self) -> None:
        self.queries: list[list[str]] = []

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.queries.append(list(keys))
        await asyncio.sleep(0)
        if "bad" in keys:
            raise ValueError("bad")
        return {key: key.upper() for key in keys if key != "none"}


async def test_keys_of_the_same_moment_are_one_query() -> None:
    store = Store()
    reads = GatheredReads(store)
    assert await asyncio.gather(*map(reads.get, ("a", "b", "a", "none"))) == ["A", "B", "A", None]
    assert store.queries == [["a", "b", "none"]]
    assert await reads.get("b") == "B"
    assert len(store.queries) == 1


async def test_keys_asked_for_while_a_query_runs_are_in_the_next_one() -> None:
    store = Store()
    reads = GatheredReads(store)
    first = asyncio.create_task(reads.get("a"))
    while not store.queries:  # noqa: ASYNC110 - the store sends no signal
        await asyncio.sleep(0)
    assert await asyncio.gather(first, *map(reads.get, ("b", "c"))) == ["A", "B", "C"]
    assert store.queries == [["a"], ["b", "c"]]


async def test_an_error_reaches_every_caller_of_that_query_and_no_other() -> None:
    reads = GatheredReads(Store())
    found = await asyncio.gather(*map(reads.get, ("bad", "a")), return_exceptions=True)
    assert [type(one) for one in found] == [ValueError, ValueError]
    assert await reads.get("b") == "B"
    with pytest.raises(ValueError, match="bad"):
        await reads.get("a")


async def test_a_caller_that_is_cancelled_while_it_reads_leaves_the_keys_to_the_others() -> None:
    class Held(Store):
        """Holds the first query until its caller is cancelled."""

        async def __call__(self, keys: Sequence[str]) -> Mapping[str, str]:
            found = await super().__call__(keys)
            if len(self.queries) == 1:
                await asyncio.Event().wait()
            return found

    store = Held()
    reads = GatheredReads(store)
    reader, *others = (asyncio.create_task(reads.get(key)) for key in ("a", "b", "none"))
    while not store.queries:  # noqa: ASYNC110 - the store sends no signal
        await asyncio.sleep(0)
    reader.cancel()
    assert await asyncio.gather(*others) == ["B", None]
    assert reader.cancelled() and store.queries == [["a", "b", "none"]] * 2
