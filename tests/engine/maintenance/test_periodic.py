"""Periodic work: due trainings are scheduled once a day, partitions are made ahead."""

import asyncio
from datetime import UTC, datetime, time, timedelta

import pytest

from core.settings import Schedule
from db.jobs import AFFINITY, list_jobs
from db.postgres import Pool
from engine.maintenance.periodic import do_periodic_work, due_period

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
NEVER = Schedule(retrain_daily=False)


async def test_periodic_work_done_twice_at_once_schedules_one_training_a_day(pool: Pool) -> None:
    daily, due = Schedule(retrain_at=time(3)), MONDAY.replace(hour=4)
    assert await do_periodic_work(pool, daily, MONDAY.replace(hour=2)) == []
    kinds = await asyncio.gather(*(do_periodic_work(pool, daily, due) for _ in range(4)))
    assert sorted(kinds) == [[], [], [], [AFFINITY]]
    (asked,) = await list_jobs(pool, 10)
    assert (asked.reason, asked.requested_by) == ("scheduled for 2026-01-05", "schedule")
    await pool.execute("UPDATE training_jobs SET state = 'FAILED'")
    assert await do_periodic_work(pool, daily, due + timedelta(hours=1)) == []
    assert await do_periodic_work(pool, NEVER, due + timedelta(days=1)) == []
    assert await do_periodic_work(pool, daily, due + timedelta(days=1)) == [AFFINITY]


async def test_periodic_work_makes_the_partitions_of_the_months_ahead(pool: Pool) -> None:
    await do_periodic_work(pool, NEVER, datetime(2031, 5, 20, tzinfo=UTC))
    assert await pool.fetchval("SELECT to_regclass('events_2031_07') IS NOT NULL")


@pytest.mark.parametrize(
    ("at", "now", "period"),
    [
        (time(3), MONDAY.replace(hour=2, minute=59), None),
        (time(3), MONDAY.replace(hour=3), "2026-01-05"),
        (time(3), MONDAY.replace(hour=8, minute=59), "2026-01-05"),
        (time(3), MONDAY.replace(hour=9), None),
        (time(23), MONDAY.replace(hour=1), "2026-01-04"),
    ],
)
def test_a_day_is_due_for_some_hours_from_its_time_on(at: time, now: datetime, period: str | None) -> None:
    assert due_period(at, now) == period
