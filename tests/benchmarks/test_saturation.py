"""The traffic of the benchmark at a share of the most: its pace, and what it says of slow moments."""

import asyncio
from time import monotonic

import numpy as np
import pytest

from benchmarks.event_calls import GatewayAddress
from benchmarks.saturation import _interval, _started_when_due, _Traffic


def test_the_moments_are_independent_and_as_many_as_asked_for() -> None:
    traffic = _Traffic(GatewayAddress("http://127.0.0.1:1", "token"), "{ me { id } }", ["anna"], seed=1)
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
