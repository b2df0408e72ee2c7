"""A training job is held by one worker at a time; whoever slept through the lease is refused."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from db.jobs import LeaseLost, fail_job, finish_job, heartbeat, job_by_id, lease_job, request_job
from db.serving import Model, register_model

EXPIRED = timedelta(seconds=-1)


async def test_a_job_is_leased_once_and_finished(pool: asyncpg.Pool) -> None:
    await register_model(pool, Model("b", "main", datetime.now(UTC), "d", {}, None))
    asked = await request_job(pool, "main", "new data", "ada")
    leased = [job for job in await asyncio.gather(*(lease_job(pool, "main") for _ in range(4))) if job]
    assert [job.id for job in leased] == [asked.id]
    await heartbeat(pool, leased[0])
    await finish_job(pool, leased[0], "b")
    done = await job_by_id(pool, asked.id)
    assert done and (done.state, done.bundle, done.lease_until) == ("SUCCEEDED", "b", None)
    assert await lease_job(pool, "main") is None


async def test_the_oldest_job_of_the_kind_goes_first(pool: asyncpg.Pool) -> None:
    await request_job(pool, "forecasts", "drift", "watch")
    first = await request_job(pool, "main", "1", "ada")
    await request_job(pool, "main", "2", "ada")
    job = await lease_job(pool, "main")
    assert job and job.id == first.id


async def test_a_sleeper_is_refused_after_its_lease_went_to_another(pool: asyncpg.Pool) -> None:
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


async def test_a_finished_job_cannot_be_finished_again(pool: asyncpg.Pool) -> None:
    await request_job(pool, "main", "new data", "ada")
    job = await lease_job(pool, "main")
    assert job
    await fail_job(pool, job, "first")
    with pytest.raises(LeaseLost):
        await fail_job(pool, job, "second")
