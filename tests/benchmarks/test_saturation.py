"""The traffic of the benchmark at a share of the most: its pace, and what it says of slow moments."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic

import numpy as np
import pytest

from benchmarks.event_calls import GatewayAddress
from benchmarks.processes import alone_on_a_core
from benchmarks.saturation import Times, _interval, _p99_of_queue, _started_when_due, _Traffic


def test_the_moments_are_independent_and_as_many_as_asked_for() -> None:
    traffic = _traffic()
    moments = np.array(traffic._moments(500, 30))
    gaps = np.diff(moments)
    assert len(moments) == pytest.approx(15_000, rel=0.05)
    assert gaps.min() >= 0
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05), "as of a Poisson process"
    assert moments[-1] < 30


async def test_a_call_is_started_when_it_is_due_although_earlier_ones_wait() -> None:
    started, over = list[float](), asyncio.Event()
    began = monotonic()

    async def call(due: float) -> None:
        started.append(monotonic() - began - due)
        if len(started) == 50:
            over.set()
        await over.wait()

    await _started_when_due(began, [number / 1_000 for number in range(50)], call)
    assert len(started) == 50
    assert min(started) >= -0.001


def test_a_slow_second_widens_the_interval_of_the_percentile() -> None:
    due, times = np.arange(3_000) / 100, np.full(3_000, 5.0)
    assert _interval(due, times, 1) == (5.0, 5.0)
    times[:100] = 80.0  # one of 30 seconds
    low, high = _interval(due, times, 1)
    assert (low, high) == (5.0, 80.0)


def test_a_queue_that_grows_is_not_kept_up_with() -> None:
    def times(waited: float) -> Times:
        return Times.of([(due, 5.0 + waited * due, 0.0) for due in np.arange(0, 5, 0.01)])

    assert times(waited=1.0).kept_up(5.0)
    assert not times(waited=50.0).kept_up(5.0), "5 % more than it answers"


async def test_the_most_is_found_between_rates_that_are_kept_up_with_and_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def keeps_up(_: _Traffic, rate: float) -> bool:
        return rate <= 437

    monkeypatch.setattr(_Traffic, "_keeps_up", keeps_up)
    assert await _traffic()._most(closed=500) == pytest.approx(437, rel=0.03)


async def test_a_rate_that_something_else_disturbed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[float]()

    async def keeps_up(_: _Traffic, rate: float) -> bool:
        tried.append(rate)
        return rate <= 437 and tried.count(rate) == 2

    monkeypatch.setattr(_Traffic, "_keeps_up", keeps_up)
    assert await _traffic()._most(closed=500) == pytest.approx(437, rel=0.03)


def test_the_queue_to_compare_with_waits_as_theory_says() -> None:
    assert _p99_of_queue(np.ones(1), 0.7, 1) == pytest.approx(7.6, rel=0.05), "M/D/1: answers that all cost the same"
    costs = -np.log(np.linspace(1e-4, 1, 20_000))
    assert _p99_of_queue(costs, 0.7, 1) == pytest.approx(np.log(100) / 0.3, rel=0.05), "M/M/1: the time is exponential"


@pytest.fixture
def other_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


def test_what_is_measured_has_a_core_of_its_own_for_a_while(other_process: int) -> None:
    cores = os.sched_getaffinity(0)
    with alone_on_a_core(other_process):
        own, ours = os.sched_getaffinity(other_process), os.sched_getaffinity(0)
        assert (own, ours) == (({max(cores)}, cores - {max(cores)}) if len(cores) > 1 else (cores, cores))
    assert os.sched_getaffinity(other_process) == os.sched_getaffinity(0) == cores


def _traffic() -> _Traffic:
    return _Traffic(GatewayAddress("http://127.0.0.1:1", "token"), "{ me { id } }", ["anna"], seed=1)
