"""What the gate's decision lets serve: the model, the best baseline, or what served before."""

from dataclasses import replace
from datetime import UTC, datetime

from redis.asyncio import Redis

from db.jobs import AFFINITY, Job, job_by_id, lease_job, request_job
from db.postgres import Pool
from db.serving import Model, current_serving, list_decisions, model_by_id, newest_decisions, promote
from engine.models.promoting import Baseline, decide_by_gate, trained_model_serves
from ml.gate import Verdict

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
REFUSED, PROMOTED = Verdict(False, "too few people"), Verdict(True, "better")


def model(id: str, **evaluation: str) -> Model:
    return Model(id, AFFINITY, MONDAY, "d", dict(evaluation), None, {"seed": 7})


def baseline(id: str) -> Baseline:
    return Baseline(model(id, baseline="personal_frequency"), f"{id} serves", {"refused": "x"})


async def leased(pool: Pool) -> Job:
    await request_job(pool, AFFINITY, "new data", "ada")
    job = await lease_job(pool, AFFINITY)
    assert job
    return job


async def serves(pool: Pool) -> str | None:
    row = await current_serving(pool)
    return row.bundle if row else None


async def test_a_baseline_serves_until_a_trained_model_does_and_never_in_its_place(pool: Pool, redis: Redis) -> None:
    job = await leased(pool)
    assert await decide_by_gate(pool, redis, job, model("one"), REFUSED, {}, "gate", baseline("simple-1"))
    assert await serves(pool) == "simple-1"
    finished = await job_by_id(pool, job.id)
    assert finished is not None
    assert finished.bundle == "one"
    promoted, refused = await list_decisions(pool, 10)
    assert (refused.action, refused.bundle, refused.reason) == ("REFUSED", "one", "too few people")
    assert (promoted.action, promoted.bundle, promoted.reason) == ("PROMOTED", "simple-1", "simple-1 serves")
    assert not await trained_model_serves(pool)

    job = await leased(pool)
    assert await decide_by_gate(pool, redis, job, model("two"), REFUSED, {}, "gate", baseline("simple-2"))
    assert await serves(pool) == "simple-2", "a newer one replaces it"

    job = await leased(pool)
    assert not await decide_by_gate(pool, redis, job, model("three"), PROMOTED, {}, "gate")
    assert await serves(pool) == "three"

    job = await leased(pool)
    assert not await decide_by_gate(pool, redis, job, model("four"), REFUSED, {}, "gate", baseline("simple-4"))
    assert await serves(pool) == "three", "it goes on"
    assert await model_by_id(pool, "simple-4") is None


async def test_a_refused_model_that_a_person_promoted_is_a_trained_model(pool: Pool, redis: Redis) -> None:
    job = await leased(pool)
    await decide_by_gate(pool, redis, job, model("one"), REFUSED, {}, "gate", baseline("simple"))
    await promote(pool, "one", "I know better", {}, "ada")
    assert await trained_model_serves(pool)
    newest = await newest_decisions(pool, ["one", "simple", "nothing"])
    assert {id: decision.action for id, decision in newest.items()} == {"one": "PROMOTED", "simple": "PROMOTED"}


async def test_a_model_is_stored_with_where_it_comes_from(pool: Pool, redis: Redis) -> None:
    await decide_by_gate(pool, redis, await leased(pool), model("one"), PROMOTED, {}, "gate")
    stored = await model_by_id(pool, "one")
    assert stored == replace(model("one"), created_at=MONDAY)
