"""Periodic work: due trainings are scheduled once a day, partitions are made ahead."""

import asyncio
from datetime import UTC, datetime, time, timedelta

import pytest

from core.settings import Lists, Schedule
from db.jobs import AFFINITY, FORECAST, list_jobs
from db.list_jobs import LISTS, MOST_WAITING, request_list_job
from db.postgres import Pool
from engine.maintenance.periodic import do_periodic_work, due_period

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
NEVER = Schedule(retrain_daily=False)
NO_LISTS = Lists()


async def test_periodic_work_done_twice_at_once_schedules_the_trainings_once_a_day(pool: Pool) -> None:
    daily, due = Schedule(retrain_at=time(3)), MONDAY.replace(hour=4)
    assert await do_periodic_work(pool, daily, NO_LISTS, MONDAY.replace(hour=2)) == []
    kinds = await asyncio.gather(*(do_periodic_work(pool, daily, NO_LISTS, due) for _ in range(4)))
    assert sorted(kind for each in kinds for kind in each) == [AFFINITY, FORECAST]
    assert {(job.kind, job.reason, job.requested_by) for job in await list_jobs(pool, 10)} == {
        (kind, "scheduled for 2026-01-05", "schedule") for kind in (AFFINITY, FORECAST)
    }
    await pool.execute("UPDATE training_jobs SET state = 'FAILED'")
    assert await do_periodic_work(pool, daily, NO_LISTS, due + timedelta(hours=1)) == []
    assert await do_periodic_work(pool, NEVER, NO_LISTS, due + timedelta(days=1)) == []
    assert await do_periodic_work(pool, daily, NO_LISTS, due + timedelta(days=1)) == [AFFINITY, FORECAST]


async def test_the_lists_of_each_placement_are_requested_once_a_day(pool: Pool) -> None:
    daily = Lists(lists_url="/data/lists", lists_daily="home, mail", lists_at=time(5))
    assert await do_periodic_work(pool, NEVER, daily, MONDAY.replace(hour=4)) == []
    kinds = await asyncio.gather(*(do_periodic_work(pool, NEVER, daily, MONDAY.replace(hour=5)) for _ in range(4)))
    assert [kind for each in kinds for kind in each] == [LISTS, LISTS]
    jobs = await list_jobs(pool, 10)
    assert {(job.list_request["placement"], job.list_request["first"]) for job in jobs if job.list_request} == {
        ("home", None),
        ("mail", None),
    }, "as many items as the placement says"
    assert (jobs[0].kind, jobs[0].reason, jobs[0].requested_by) == (LISTS, "scheduled for 2026-01-05", "schedule")
    assert await do_periodic_work(pool, NEVER, daily, MONDAY.replace(hour=6)) == []
    tuesday = MONDAY.replace(hour=5) + timedelta(days=1)
    await pool.execute("UPDATE training_jobs SET state = 'SUCCEEDED' WHERE list_request ->> 'placement' = 'home'")
    assert await do_periodic_work(pool, NEVER, daily, tuesday) == [LISTS], "those of mail still wait"
    waiting = await pool.fetch("SELECT period FROM training_jobs WHERE state = 'QUEUED' ORDER BY id")
    assert [row["period"] for row in waiting] == ["2026-01-05 mail", "2026-01-06 home"]
    unset = Lists(lists_daily="home")
    assert await do_periodic_work(pool, NEVER, unset, MONDAY.replace(hour=5) + timedelta(days=2)) == []


async def test_lists_of_the_day_wait_for_a_place_among_those_that_wait(pool: Pool) -> None:
    for number in range(MOST_WAITING):
        assert await request_list_job(pool, {"placement": f"p{number}"}, "for the mail", "ada") is not None
    daily = Lists(lists_url="/data/lists", lists_daily="home", lists_at=time(5))
    assert await do_periodic_work(pool, NEVER, daily, MONDAY.replace(hour=5)) == []
    await pool.execute("UPDATE training_jobs SET state = 'SUCCEEDED' WHERE list_request ->> 'placement' = 'p3'")
    assert await do_periodic_work(pool, NEVER, daily, MONDAY.replace(hour=6)) == [LISTS]


async def test_an_old_file_of_lists_is_announced_to_the_trainers_once_a_day(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO training_jobs (kind, state, reason, requested_by, finished_at, list_request, list_progress) VALUES"
        " ('lists', 'SUCCEEDED', 'for the mail', 'ada', now() - interval '31 days', $1, $2)",
        {"placement": "mail"},
        {"file": "/data/lists/mail/1.parquet"},
    )
    place, noon = Lists(lists_url="/data/lists"), MONDAY
    assert await do_periodic_work(pool, NEVER, place.model_copy(update={"lists_keep": 40}), noon) == []
    assert await do_periodic_work(pool, NEVER, place, noon) == [LISTS]
    assert await do_periodic_work(pool, NEVER, place, noon) == []
    await pool.execute("UPDATE training_jobs SET lease_until = lease_until - interval '25 hours'")
    assert await do_periodic_work(pool, NEVER, NO_LISTS, noon) == []
    assert await do_periodic_work(pool, NEVER, place, noon) == [LISTS]


async def test_periodic_work_makes_the_partitions_of_the_months_ahead(pool: Pool) -> None:
    await do_periodic_work(pool, NEVER, NO_LISTS, datetime(2031, 5, 20, tzinfo=UTC))
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
