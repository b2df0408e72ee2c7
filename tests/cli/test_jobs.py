"""`penchant jobs`: lists, shows, watches and cancels jobs."""

import asyncio
import json

import pytest
from typer.testing import Result

from db.jobs import AFFINITY, LEASE, cancel_job, heartbeat, lease_job, request_job
from db.postgres import Pool
from tests.commands import invoke


@pytest.fixture(autouse=True)
def settings(pool: Pool, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", postgres_url)


async def said(*arguments: str) -> Result:
    return await asyncio.to_thread(invoke, "jobs", *arguments)


async def test_jobs_are_listed_and_shown_with_how_far_they_are(pool: Pool) -> None:
    assert "There are no jobs" in (await said("list")).stdout
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    job = await lease_job(pool, AFFINITY)
    assert job
    await heartbeat(pool, job, LEASE, {"stage": "evaluating", "done": 500, "of": 2_000})
    listed = (await said("list")).stdout
    assert "running" in listed and "evaluating: 500 of 2,000 (25 %)" in listed
    (document,) = json.loads((await said("list", "--json")).stdout)
    assert (document["id"], document["state"], document["attempts"]) == (asked.id, "RUNNING", 1)
    assert document["progress"] == {"stage": "evaluating", "done": 500, "of": 2_000, "percent": 25}
    assert "requested by ada: new data" in (await said("show", str(asked.id))).stdout
    missing = await said("show", "4711")
    assert (missing.exit_code, missing.stderr) == (1, "penchant: There is no job 4711.\n")


async def test_a_job_is_cancelled_by_whoever_runs_the_command(pool: Pool) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    cancelled = await said("cancel", str(asked.id), "--json")
    document = json.loads(cancelled.stdout)
    assert (cancelled.exit_code, document["state"]) == (0, "CANCELLED")
    assert document["error"].startswith("cancelled by penchant jobs")
    assert (await said("cancel", str(asked.id))).exit_code == 0
    assert (await said("cancel", "4711")).exit_code == 1


async def test_watching_ends_with_the_job(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.jobs.POLL", 0.05)
    assert "No job waits or runs." in (await said("watch")).stdout
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    watching = asyncio.create_task(said("watch", str(asked.id)))
    await asyncio.sleep(0)
    await cancel_job(pool, asked.id, "ada")
    ended = await watching
    assert (ended.exit_code, ended.stdout.count("cancelled by ada")) == (1, 1), ended.stderr
