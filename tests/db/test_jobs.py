"""A training job is held by one worker at a time; a worker whose lease ran out is refused."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from db.jobs import (
    MOST_LEASES,
    LeaseLost,
    fail_job,
    finish_job,
    give_up_jobs,
    heartbeat,
    job_by_id,
    lease_job,
    list_jobs,
    request_job,
    request_once,
    schedule_job,
    unattended_kinds,
)
from db.postgres import Pool
from db.serving import Model, register_model

EXPIRED = timedelta(seconds=-1)


async def test_a_job_is_leased_once_and_finished(pool: Pool) -> None:
    await register_model(pool, Model("b", "main", datetime.now(UTC), "d", {}, None))
    asked = await request_job(pool, "main", "new data", "ada")
    leased = [job for job in await asyncio.gather(*(lease_job(pool, "main") for _ in range(4))) if job]
    assert [job.id for job in leased] == [asked.id]
    await heartbeat(pool, leased[0])
    await finish_job(pool, leased[0], "b")
    done = await job_by_id(pool, asked.id)
    assert done and (done.state, done.bundle, done.lease_until) == ("SUCCEEDED", "b", None)
    assert await lease_job(pool, "main") is None


async def test_the_oldest_job_of_the_kind_goes_first(pool: Pool) -> None:
    await request_job(pool, "forecasts", "drift", "watch")
    first = await request_job(pool, "main", "1", "ada")
    await request_job(pool, "main", "2", "ada")
    job = await lease_job(pool, "main")
    assert job and job.id == first.id


async def test_a_worker_is_refused_after_its_lease_went_to_another(pool: Pool) -> None:
    await request_job(pool, "main", "new data", "ada")
    sleeper = await lease_job(pool, "main", EXPIRED)
    other = await lease_job(pool, "main")
    assert sleeper and other and other.fencing_token == sleeper.fencing_token + 1
    for late in (heartbeat(pool, sleeper), finish_job(pool, sleeper, "b"), fail_job(pool, sleeper, "late")):
        with pytest.raises(LeaseLost):
            await late
    await fail_job(pool, other, "no events")
    failed = await job_by_id(pool, other.id)
    assert failed and (failed.state, failed.error) == ("FAILED", "no events")


async def test_a_finished_job_cannot_be_finished_again(pool: Pool) -> None:
    await request_job(pool, "main", "new data", "ada")
    job = await lease_job(pool, "main")
    assert job
    await fail_job(pool, job, "first")
    with pytest.raises(LeaseLost):
        await fail_job(pool, job, "second")


async def test_a_request_while_a_job_waits_returns_that_job(pool: Pool) -> None:
    asked = await asyncio.gather(*(request_once(pool, "main", "new data", "ada") for _ in range(5)))
    assert len({job.id for job in asked}) == 1
    assert await lease_job(pool, "main")
    assert (await request_once(pool, "main", "again", "ada")).id != asked[0].id


async def test_a_period_is_scheduled_once_however_many_processes_try(pool: Pool) -> None:
    made = await asyncio.gather(*(schedule_job(pool, "main", "2026-03-02", "beat") for _ in range(5)))
    assert len([job for job in made if job]) == 1
    job = await lease_job(pool, "main")
    assert job and await schedule_job(pool, "main", "2026-03-02", "beat") is None
    assert await schedule_job(pool, "main", "2026-03-03", "beat")


async def test_nothing_is_scheduled_behind_a_job_that_waits(pool: Pool) -> None:
    await request_job(pool, "main", "new data", "ada")
    assert await schedule_job(pool, "main", "2026-03-02", "beat") is None
    assert await schedule_job(pool, "forecasts", "2026-03-02", "beat")


async def test_one_job_can_be_leased_by_its_id(pool: Pool) -> None:
    await request_job(pool, "main", "1", "ada")
    second = await request_job(pool, "main", "2", "ada")
    job = await lease_job(pool, "main", id=second.id)
    assert job and job.id == second.id
    assert await lease_job(pool, "main", id=second.id) is None


async def test_a_waiting_job_is_unattended_while_no_trainer_works(pool: Pool) -> None:
    at_once = timedelta(0)
    assert await unattended_kinds(pool, at_once) == []
    await request_job(pool, "main", "1", "ada")
    assert await unattended_kinds(pool, at_once) == ["main"]
    assert await unattended_kinds(pool, timedelta(hours=1)) == []  # its own message is on the way
    await lease_job(pool, "main")
    await request_job(pool, "main", "2", "ada")
    assert await unattended_kinds(pool, at_once) == []  # the trainer of the first job takes the second
    await pool.execute("UPDATE training_jobs SET lease_until = now() - interval '1 second' WHERE state = 'RUNNING'")
    assert await unattended_kinds(pool, timedelta(hours=1)) == ["main"]


async def test_a_job_that_ends_its_workers_is_given_up(pool: Pool) -> None:
    asked = await request_job(pool, "main", "too big", "ada")
    for _ in range(MOST_LEASES):
        assert await give_up_jobs(pool) == []
        assert await lease_job(pool, "main", EXPIRED)
    assert await lease_job(pool, "main", EXPIRED) is None
    assert await give_up_jobs(pool) == [asked.id]
    failed = await job_by_id(pool, asked.id)
    assert failed and failed.state == "FAILED" and "3 times" in (failed.error or "")


async def test_jobs_are_paged_newest_first(pool: Pool) -> None:
    for number in "123":
        await request_job(pool, "main", number, "ada")
    newest = await list_jobs(pool, 2)
    assert [job.reason for job in newest] == ["3", "2"]
    assert [job.reason for job in await list_jobs(pool, 2, newest[-1].id)] == ["1"]
