"""Trainings that are steered: how far they are, cancelled ones, and those beyond their bounds."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest

from bus.messages import train
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.settings import Stores, Trainings
from db.jobs import (
    AFFINITY,
    Job,
    JobCancelled,
    LeaseLost,
    cancel_job,
    finish_job,
    heartbeat,
    job_by_id,
    lease_job,
    request_job,
)
from db.postgres import Pool
from db.serving import list_decisions, list_models
from engine.jobs import bounds, leases
from engine.jobs.bounds import MIB, BoundExceeded, Bounds
from engine.jobs.leases import hold
from engine.jobs.threads import in_own_thread
from tests.faults import eventually
from tests.fixtures.worker import StartWorker

WITHIN = 30.0  # seconds; without an interruption the computations never end


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOOK", 0.05)
    monkeypatch.setattr(leases, "LOOK_AT_BOUNDS", 0.02)


async def leased(pool: Pool) -> Job:
    await request_job(pool, AFFINITY, "new data", "ada")
    job = await lease_job(pool, AFFINITY)
    assert job
    return job


async def found(pool: Pool, job: Job) -> Job:
    again = await job_by_id(pool, job.id)
    assert again
    return again


async def test_the_row_of_a_job_says_how_far_it_is(pool: Pool) -> None:
    job = await leased(pool)
    async with hold(pool, job) as held:
        for done in range(1_000):
            held.report("fitting the ranker", done, 1_000)

        async def written() -> bool:
            progress = (await found(pool, job)).progress
            return progress == {"stage": "fitting the ranker", "done": 999, "of": 1_000}

        await eventually(written)
    await heartbeat(pool, job)
    kept = (await found(pool, job)).progress
    assert kept and kept["done"] == 999, "a heartbeat without news keeps what was there"


async def test_a_new_attempt_begins_without_the_progress_of_the_one_before(pool: Pool) -> None:
    job = await leased(pool)
    await heartbeat(pool, job, leases.LEASE * -1, {"stage": "evaluating", "done": 1, "of": 2})
    again = await lease_job(pool, AFFINITY)
    assert again and again.progress is None


async def test_a_cancelled_training_stops_in_the_middle_of_a_computation(pool: Pool) -> None:
    job, ends = await leased(pool), list[float]()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def long() -> None:
        try:
            loop.call_soon_threadsafe(begun.set)
            while True:
                time.sleep(0.01)  # a batch, after which nobody asks whether to go on
        finally:
            ends.append(time.monotonic())

    async def learn() -> None:
        async with hold(pool, job):
            await in_own_thread(long)

    learning = asyncio.create_task(learn())
    await begun.wait()
    cancelled = await cancel_job(pool, job.id, "ada")
    asked = time.monotonic()
    with pytest.raises(JobCancelled, match="was cancelled"):
        await learning

    async def ended() -> bool:
        return bool(ends)

    await eventually(ended, within=WITHIN)
    assert ends[0] - asked < WITHIN
    assert cancelled and (cancelled.state, cancelled.error) == ("CANCELLED", "cancelled by ada")
    assert await found(pool, job) == cancelled, "what the trainer does later changes nothing"


async def test_nothing_of_a_cancelled_training_can_be_registered(pool: Pool) -> None:
    job = await leased(pool)
    await cancel_job(pool, job.id, "ada")
    with pytest.raises(LeaseLost):
        await finish_job(pool, job, "b")
    assert await lease_job(pool, AFFINITY) is None


async def test_a_waiting_job_is_cancelled_and_an_ended_one_stays(pool: Pool) -> None:
    waiting = await request_job(pool, AFFINITY, "new data", "ada")
    first, again = [await cancel_job(pool, waiting.id, who) for who in ("ada", "bob")]
    assert first and first == again and first.error == "cancelled by ada"
    job = await leased(pool)
    with pytest.raises(ZeroDivisionError):
        async with hold(pool, job):
            raise ZeroDivisionError
    failed = await cancel_job(pool, job.id, "ada")
    assert failed and failed.state == "FAILED"
    assert await cancel_job(pool, 4711, "ada") is None


async def test_a_training_that_takes_too_long_fails_with_the_setting_to_change(pool: Pool) -> None:
    job = await leased(pool)
    with pytest.raises(BoundExceeded):
        async with hold(pool, job, Bounds(seconds=0.1)):
            await asyncio.Event().wait()
    failed = await found(pool, job)
    assert failed.state == "FAILED" and failed.error
    assert "0.1 seconds (PENCHANT_TRAINING_DEADLINE)" in failed.error


async def test_a_training_that_needs_too_much_memory_fails_before_it_is_killed(pool: Pool) -> None:
    job, blocks = await leased(pool), list[bytearray]()
    used = bounds.memory_used()
    assert used

    def grow() -> None:
        while len(blocks) < 200:
            blocks.append(bytearray(b"x" * MIB))
            time.sleep(0.01)

    with pytest.raises(BoundExceeded):
        async with hold(pool, job, Bounds(memory=used + 50 * MIB)):
            await in_own_thread(grow)
    assert len(blocks) < 200
    failed = await found(pool, job)
    assert failed.state == "FAILED" and failed.error and "PENCHANT_TRAINING_MEMORY" in failed.error


def test_the_bound_of_memory_is_the_setting_or_most_of_what_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Bounds.of(Trainings(training_deadline=60, training_memory=100)) == Bounds(60, 100 * MIB)
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(bounds, "_LIMITS", (str(tmp_path / "none"), str(limit)))
    limit.write_text("1000000000\n")
    assert Bounds.of(Trainings()).memory == 900_000_000
    limit.write_text("max\n")
    machine = Bounds.of(Trainings()).memory
    assert machine and machine > 100 * MIB


async def test_a_result_and_an_error_come_out_of_the_thread() -> None:
    assert await in_own_thread(lambda: 1 + 1) == 2
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(lambda: 1 // 0)


async def test_a_thread_is_interrupted_again_when_its_code_swallows_the_first_time() -> None:
    swallowed, begun, ended = [], asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def stubborn() -> None:
        try:
            loop.call_soon_threadsafe(begun.set)
            while True:
                try:
                    time.sleep(0.01)
                except BaseException as error:
                    swallowed.append(error)
                    if len(swallowed) == 2:
                        raise
        finally:
            loop.call_soon_threadsafe(ended.set)

    computing = asyncio.create_task(in_own_thread(stubborn))
    await begun.wait()
    computing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await computing
    async with asyncio.timeout(WITHIN):
        await ended.wait()


LONG = """
import time
from engine.jobs import leases
from engine.models import training
leases.LOOK = 0.2
def long(kind):
    def stand_in(log, second, report, rivals):
        report("fitting the ranker", 3, 12)
        while True:
            time.sleep(0.05)
    return stand_in
training.trainer_for = long
async def learnable(*_): return None
training.check_learnable = learnable
training.last_weeks = lambda log: (log, None)"""


def stage(pool: Pool, job: Job) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await found(pool, job)).progress is not None

    return holds


@pytest.mark.timeout(120)
async def test_a_trainer_stops_a_cancelled_training_and_takes_the_next_one(
    pool: Pool, broker: RabbitPublisher, start_worker: StartWorker, worker_log: Path
) -> None:
    first = await request_job(pool, AFFINITY, "new data", "ada")
    start_worker(LONG, command=("trainer",))
    await broker.publish(train(AFFINITY))

    async def fitting() -> bool:
        progress = (await found(pool, first)).progress
        return progress is not None and progress["stage"] == "fitting the ranker"

    await eventually(fitting, within=60)
    second = await request_job(pool, AFFINITY, "newer data", "ada")
    await cancel_job(pool, first.id, "ada")
    await broker.publish(train(AFFINITY))
    await eventually(stage(pool, second), within=30)
    assert (await found(pool, first)).state == "CANCELLED"
    assert await list_models(pool, 10) == []
    assert "JobCancelled" in await asyncio.to_thread(worker_log.read_text)


LEARNED = """
from datetime import timedelta
from engine.jobs import leases
from engine.models import training
from ml import bundle
from ml.evaluation import Evaluation, Score
leases.LEASE, leases.HEARTBEAT = timedelta(seconds=3), 0.5
score = {name: {"ndcg_at_10": Score(value, value, value)} for name, value in (("ranker", 0.2), ("popularity", 0.1))}
class Learned:
    evaluation = Evaluation(0, 500, 80, 2.0, score, {"popularity": Score(0.1, 0.05, 0.2)}, "ranker")
    training = {}
    def with_gate(self, gate): return self
    def write(self, folder, created_at):
        parts = {"evaluation": {**self.evaluation.document(), "parity": 0.0}, "training": {}}
        return bundle.write(folder, "test", parts, created_at)
async def learn(*_): return Learned(), None
training._learn = learn
"""
STALLED = f"""{LEARNED}
import os, signal
from pathlib import Path
decide = training.decide_by_gate
async def stalled(*arguments, **named):
    Path("stalled").touch()
    os.kill(os.getpid(), signal.SIGSTOP)
    return await decide(*arguments, **named)
training.decide_by_gate = stalled"""


@pytest.mark.timeout(180)
async def test_a_stalled_trainer_that_comes_back_registers_nothing(
    pool: Pool, broker: RabbitPublisher, stores: Stores, start_worker: StartWorker, worker_log: Path
) -> None:
    """It is paused at the worst moment: the bundle is written, the decision comes next."""
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    stalled = start_worker(STALLED, command=("trainer",))
    await broker.publish(train(AFFINITY))
    mark = worker_log.parent / "stalled"
    await eventually(mark.exists, within=60)
    os.killpg(stalled.pid, signal.SIGSTOP)

    async def lease_ended() -> bool:
        until = (await found(pool, asked)).lease_until
        return until is not None and until < clock.now()

    await eventually(lease_ended, within=30)
    start_worker(LEARNED, command=("trainer",))
    polls = count()

    async def succeeded() -> bool:
        if next(polls) % 100 == 0:  # a stalled trainer still gets every second message
            await broker.publish(train(AFFINITY))
        return (await found(pool, asked)).state == "SUCCEEDED"

    await eventually(succeeded, within=60)
    ended, decisions = await found(pool, asked), await list_decisions(pool, 10)
    assert (ended.fencing_token, len(decisions)) == (2, 1)

    def noticed() -> bool:
        os.killpg(stalled.pid, signal.SIGCONT)  # again: its own stop may come only after the first one
        return "LeaseLost" in worker_log.read_text()

    await eventually(noticed, within=60)
    (model,) = await list_models(pool, 10)
    assert (model.id, await found(pool, asked)) == (ended.bundle, ended)
    assert await list_decisions(pool, 10) == decisions
    await eventually(lambda: {path.name for path in stores.bundles.glob("test-*")} == {model.id})
