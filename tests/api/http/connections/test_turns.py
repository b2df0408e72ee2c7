"""Requests start in turns: a few in each iteration of the event loop, one caller after the other."""

import asyncio
from collections.abc import Callable

import pytest

from api.http.connections import turns
from api.http.connections.turns import Lane, LaneFull, Turns


@pytest.fixture
async def started() -> list[str]:
    return []


def starting(started: list[str], name: str, left: bool = False) -> Callable[[], bool]:
    def start() -> bool:
        if not left:
            started.append(name)
        return not left

    return start


async def test_an_iteration_starts_a_few_requests_of_each_lane(started: list[str]) -> None:
    waiting = Turns(asyncio.get_running_loop())
    for lane in Lane:
        for _ in range(100):
            waiting.start(lane, "one", starting(started, lane.name))
    assert started == []
    for iteration in range(1, 10):
        await asyncio.sleep(0)
        assert {lane: started.count(lane.name) for lane in Lane} == {
            lane: min(100, iteration * lane.value[0]) for lane in Lane
        }


async def test_a_caller_does_not_wait_for_all_requests_of_another(started: list[str]) -> None:
    waiting = Turns(asyncio.get_running_loop())
    for number in range(100):
        waiting.start(Lane.OTHER, "crowd", starting(started, f"crowd-{number}"))
    waiting.start(Lane.OTHER, "light", starting(started, "light"))
    await asyncio.sleep(0)
    assert started[:3] == ["crowd-0", "light", "crowd-1"]


async def test_those_who_left_take_nobodys_turn(started: list[str]) -> None:
    waiting = Turns(asyncio.get_running_loop())
    for number in range(100):
        waiting.start(Lane.OTHER, number, starting(started, "left", left=True))
    waiting.start(Lane.OTHER, "light", starting(started, "light"))
    await asyncio.sleep(0)
    assert started == ["light"]


async def test_a_lane_is_full_by_itself(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_WAITING", 2)
    waiting = Turns(asyncio.get_running_loop())
    for number in range(2):
        waiting.start(Lane.OTHER, number, starting(started, "other"))
    with pytest.raises(LaneFull):
        waiting.start(Lane.OTHER, "more", starting(started, "more"))
    waiting.start(Lane.PROBE, "probe", starting(started, "probe"))
    await asyncio.sleep(0)
    assert sorted(started) == ["other", "other", "probe"]
