"""A cache keeps little, and not for long."""

import asyncio

import pytest

from core import bounded_cache
from core.bounded_cache import LARGEST, BoundedCache
from tests.faults import eventually


async def test_the_values_kept_first_are_dropped_when_there_are_too_many_bytes() -> None:
    cache: BoundedCache[str, int] = BoundedCache(100 * LARGEST, 60)
    for number in range(100):
        cache.keep(f"key {number}", number, 80)
        assert cache.bytes == 80 * len(cache) <= 100 * LARGEST
    assert list(cache) == [f"key {number}" for number in range(20, 100)]
    assert [cache.find("key 19"), cache.find("key 20")] == [None, 20]


async def test_a_value_kept_again_takes_the_place_of_the_one_before() -> None:
    cache: BoundedCache[str, int] = BoundedCache(1_000 * LARGEST, 60)
    cache.keep("a", 1, 400)
    cache.keep("b", 2, 30)
    cache.keep("a", 3, 50)
    assert (list(cache), cache.find("a"), cache.bytes) == (["b", "a"], 3, 80)
    cache.drop("b")
    cache.drop("never kept")
    assert (list(cache), cache.bytes) == (["a"], 50)
    cache.clear()
    assert (len(cache), cache.bytes, cache.find("a")) == (0, 0, None)


async def test_a_value_that_would_fill_the_cache_is_not_kept() -> None:
    cache: BoundedCache[str, int] = BoundedCache(100 * LARGEST, 60)
    cache.keep("a", 1, 100)
    cache.keep("a", 2, 101)
    assert (cache.find("a"), cache.bytes) == (None, 0)


async def test_an_old_value_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(bounded_cache, "monotonic", lambda: now)
    cache: BoundedCache[str, int] = BoundedCache(100 * LARGEST, 60)
    cache.keep("a", 1, 1)
    now += 59.9
    assert cache.find("a") == 1
    now += 0.2
    assert cache.find("a") is None


async def test_a_value_that_is_renewed_stays_and_is_dropped_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(bounded_cache, "monotonic", lambda: now)
    cache: BoundedCache[str, int] = BoundedCache(10 * LARGEST, 60)
    cache.keep("a", 1, 10)
    cache.keep("b", 2, 10)
    now += 50
    cache.renew("a")
    now += 50
    assert (cache.find("a"), cache.find("b")) == (1, None)
    for number in range(LARGEST - 1):
        cache.keep(f"c{number}", number, 10)
    assert ("a" in list(cache), "b" in list(cache)) == (True, False)


async def test_old_values_are_dropped_though_nobody_asks() -> None:
    cache: BoundedCache[int, int] = BoundedCache(100 * LARGEST, 0.02)

    async def is_empty() -> bool:
        return not len(cache) and not cache.bytes

    for round in range(3):
        for number in range(10):
            cache.keep(number, round, 1)
            await asyncio.sleep(0)
        await eventually(is_empty)
