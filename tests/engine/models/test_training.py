"""Trainings from the request to the decision, in real trainer processes."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel

from bus.messages import train
from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Event, read_event
from core.errors import DiskFull
from core.settings import Stores
from db.events import insert_events
from db.items import upsert_items
from db.jobs import (
    AFFINITY,
    MOST_LEASES,
    REFRESH,
    Job,
    LeaseLost,
    give_up_jobs,
    job_by_id,
    lease_job,
    list_jobs,
    request_job,
)
from db.postgres import Pool
from db.serving import current_serving, list_decisions, list_models
from engine.jobs import leases
from engine.jobs.leases import TrainingStopped, hold
from engine.models import training
from ml import bundle
from tests.faults import eventually
from tests.fixtures.worker import BEAT, OFTEN, StartWorker

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
PEOPLE, ITEMS, ORDERS, DAYS = 60, 80, 20, 300
QUICK = (
    "from datetime import timedelta; from engine.jobs import leases; "
    "leases.LEASE = timedelta(seconds=3); leases.HEARTBEAT = 0.5"
)
STUCK = f"""{QUICK}
import asyncio
from engine.models import training
async def stuck(*_): await asyncio.sleep(3600)
training._learn = stuck"""
TRAINER = ("trainer",)


async def small_shop(pool: Pool) -> None:
    """Every person buys the same few items again and again, so there is something to predict."""
    random = Random(7)  # noqa: S311 -- a made-up shop
    await upsert_items(pool, [{"id": f"i{n}", "updated_at": MONDAY} for n in range(ITEMS)])
    bought = []
    for person in range(PEOPLE):
        favourites = random.sample(range(ITEMS), 6)
        for order in range(ORDERS):
            at = MONDAY + timedelta(minutes=random.randrange(DAYS * 1440))
            bought += [purchase(person, order, item, at) for item in random.sample(favourites, 3)]
    await insert_events(pool, bought)


def purchase(person: int, order: int, item: int, at: datetime) -> Event:
    raw = {
        "type": "PURCHASE",
        "userId": f"person-{person}",
        "itemId": f"i{item}",
        "orderId": f"o{person}-{order}",
        "id": f"{person}-{order}-{item}",
        "occurredAt": at.isoformat(),
        "unitPrice": "1.50",
        "currency": "EUR",
    }
    return read_event(raw, source="shop", received_at=at)


@pytest.fixture
async def broker(stores: Stores, channel: AbstractChannel) -> AsyncIterator[RabbitPublisher]:
    for queue in (topology.TRAINING, topology.PERIODIC):
        await (await channel.get_queue(queue.name)).purge()
    opened = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
    yield opened
    await opened.close()


def ended(pool: Pool, id: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        job = await job_by_id(pool, id)
        return job is not None and job.state in ("SUCCEEDED", "FAILED")

    return holds


def running(pool: Pool, id: int, attempts: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        job = await job_by_id(pool, id)
        return job is not None and (job.state, job.fencing_token) == ("RUNNING", attempts)

    return holds


async def job(pool: Pool, id: int) -> Job:
    found = await job_by_id(pool, id)
    assert found
    return found


@pytest.mark.timeout(300)
async def test_a_requested_training_ends_in_a_decision(
    pool: Pool, broker: RabbitPublisher, stores: Stores, start_worker: StartWorker
) -> None:
    await small_shop(pool)
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    start_worker(command=TRAINER)
    await broker.publish(train(AFFINITY))
    await eventually(ended(pool, asked.id), within=200)
    done = await job(pool, asked.id)
    assert (done.state, done.error) == ("SUCCEEDED", None)
    (refresh,) = [each for each in await list_jobs(pool, 10) if each.kind == REFRESH]
    await eventually(ended(pool, refresh.id), within=100)
    models = {model.id: model for model in await list_models(pool, 10)}  # a baseline too, if that serves
    decisions = {decision.bundle: decision for decision in await list_decisions(pool, 10)}
    assert done.bundle in models and decisions.keys() == models.keys()
    model, decision = models[done.bundle], decisions[done.bundle]
    assert decision.action in ("PROMOTED", "REFUSED") and decision.evidence["job"] == asked.id
    assert (stores.bundles / model.id / "manifest.json").exists()
    held = [path.read_bytes() for path in (stores.bundles / model.id).iterdir()]
    assert not any(b"person-" in each for each in (*held, repr((model, decision)).encode())), (
        "a bundle has no ids of people"
    )
    row = await current_serving(pool)
    assert row and decisions[row.bundle].action == "REFRESHED" and models[row.bundle].refreshed_from in models


async def test_a_training_without_purchases_fails_with_the_reason(
    pool: Pool, broker: RabbitPublisher, start_worker: StartWorker
) -> None:
    asked = await request_job(pool, AFFINITY, "too early", "ada")
    start_worker(command=TRAINER)
    await broker.publish(train(AFFINITY))
    await eventually(ended(pool, asked.id), within=120)
    failed = await job(pool, asked.id)
    assert (failed.state, failed.error) == ("FAILED", "The purchase log is empty.")


async def test_another_trainer_carries_out_the_job_of_a_killed_one(
    pool: Pool, broker: RabbitPublisher, start_worker: StartWorker
) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    trainer = start_worker(STUCK, command=TRAINER)
    await broker.publish(train(AFFINITY))
    await eventually(running(pool, asked.id, 1), within=60)
    kill(trainer)
    start_worker(QUICK, command=TRAINER)
    start_worker(PENCHANT_RETRAIN_DAILY="false")
    start_worker(OFTEN, command=BEAT)
    await eventually(ended(pool, asked.id), within=120)
    again = await job(pool, asked.id)
    assert (again.fencing_token, again.error) == (2, "The purchase log is empty.")


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, as when a machine fails."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


async def test_a_worker_that_lost_its_lease_stops(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.jobs.leases.HEARTBEAT", 0.02)
    await request_job(pool, AFFINITY, "new data", "ada")
    sleeper = await lease_job(pool, AFFINITY, timedelta(seconds=-1))
    assert sleeper
    assert await lease_job(pool, AFFINITY)

    async def work() -> None:
        async with hold(pool, sleeper):
            await asyncio.Event().wait()

    with pytest.raises(LeaseLost):
        await work()
    assert (await job(pool, sleeper.id)).state == "RUNNING"  # the other's


async def test_a_failed_job_has_its_reason_and_a_job_whose_store_was_away_is_left_to_others(pool: Pool) -> None:
    first = await request_job(pool, AFFINITY, "1", "ada")
    second = await request_job(pool, AFFINITY, "2", "ada")
    for error in (ZeroDivisionError, ConnectionError):
        leased = await lease_job(pool, AFFINITY)
        assert leased
        with pytest.raises(error):
            async with hold(pool, leased):
                raise error
    assert ((await job(pool, first.id)).state, (await job(pool, first.id)).error) == ("FAILED", "ZeroDivisionError")
    assert (await job(pool, second.id)).state == "RUNNING"


BUSY = f"""{QUICK}
import time
from engine.models import training
def busy(cut):
    def stand_in(log, second, report, rivals):
        while True:
            report("busy", 0, 2)
            time.sleep(0.05)
    return stand_in
training.trainer_for = busy"""


@pytest.mark.parametrize(
    ("send", "stop"),
    [(os.killpg, signal.SIGTERM), (os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
    ids=["SIGTERM to the process group", "Ctrl-C", "SIGTERM to the trainer alone"],
)
async def test_a_training_that_is_stopped_waits_again_and_the_next_trainer_takes_it_at_once(
    pool: Pool,
    broker: RabbitPublisher,
    stores: Stores,
    start_worker: StartWorker,
    send: Callable[[int, int], None],
    stop: signal.Signals,
) -> None:
    await small_shop(pool)
    before = set(stores.bundles.iterdir())
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    trainer = start_worker(BUSY, command=TRAINER)
    await broker.publish(train(AFFINITY))
    await eventually(running(pool, asked.id, 1), within=60)
    send(trainer.pid, stop)
    await eventually(waiting(pool, asked.id), within=60)
    assert await asyncio.to_thread(trainer.wait, 60) == 0
    stopped = await job(pool, asked.id)
    assert (stopped.state, stopped.error, stopped.stops) == ("QUEUED", "stopped: its trainer was told to end", 1)
    assert set(stores.bundles.iterdir()) == before
    await pool.execute("TRUNCATE events")
    start_worker(QUICK, command=TRAINER)  # no beat runs, which would announce the job a minute later
    await eventually(ended(pool, asked.id), within=60)
    again = await job(pool, asked.id)
    assert (again.fencing_token, again.error) == (2, "The purchase log is empty.")


def waiting(pool: Pool, id: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        job = await job_by_id(pool, id)
        return job is not None and job.state == "QUEUED"

    return holds


async def test_a_job_whose_trainer_is_stopped_while_it_leases_waits_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    leased, go_on = asyncio.Event(), asyncio.Event()

    async def lease_slowly(*arguments: Any) -> Job | None:
        job = await lease_job(*arguments)
        leased.set()
        await go_on.wait()
        return job

    monkeypatch.setattr(leases, "lease_job", lease_slowly)
    leasing = asyncio.create_task(leases.lease_waiting(pool, AFFINITY))
    await leased.wait()
    assert (await job(pool, asked.id)).state == "RUNNING"
    leasing.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await leasing
    stopped = await job(pool, asked.id)
    assert (stopped.state, stopped.stops) == ("QUEUED", 1)


async def test_no_training_begins_in_a_trainer_that_is_told_to_end(pool: Pool, stores: Stores) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    with pytest.raises(TrainingStopped):
        await training.train_waiting(stores, stopping=lambda: True)
    untouched = await job(pool, asked.id)
    assert (untouched.state, untouched.fencing_token, untouched.stops) == ("QUEUED", 0, 0)


async def test_a_job_that_was_stopped_often_is_not_given_up(pool: Pool) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    for _ in range(2 * MOST_LEASES):
        leased = await lease_job(pool, AFFINITY)
        assert leased
        with pytest.raises(asyncio.CancelledError):
            async with hold(pool, leased):
                raise asyncio.CancelledError
    assert (await job(pool, asked.id)).state == "QUEUED"
    for _ in range(MOST_LEASES):
        assert await lease_job(pool, AFFINITY, timedelta(seconds=-1))
    assert await lease_job(pool, AFFINITY) is None
    assert await give_up_jobs(pool) == [asked.id]
    assert (await job(pool, asked.id)).error == f"given up: its worker ended without a result {MOST_LEASES} times"


async def test_a_training_whose_folder_is_away_waits_with_the_reason(pool: Pool) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    leased = await lease_job(pool, AFFINITY)
    assert leased
    with pytest.raises(OSError, match="stale"):
        async with hold(pool, leased):
            raise OSError(116, "stale file handle", "/data/bundles")
    waits = await job(pool, asked.id)
    assert (waits.state, waits.error) == ("RUNNING", "/data/bundles: stale file handle")


async def test_a_training_whose_folder_takes_no_bundle_fails_with_its_name(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    leased = await lease_job(pool, AFFINITY)
    assert leased
    with pytest.raises(DiskFull):
        async with hold(pool, leased):
            bundle.write(tmp_path / "file", "test", {"part": "text"}, clock.now())
    failed = await job(pool, asked.id)
    assert failed.state == "FAILED" and failed.error and failed.error.startswith(f"{tmp_path}/file cannot be written: ")


async def test_bundles_of_a_training_that_is_stopped_before_its_decision_are_deleted(
    pool: Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = await request_job(pool, AFFINITY, "new data", "ada")
    leased = await lease_job(pool, AFFINITY)
    assert leased

    class Written:
        evaluation = None

        def write(self, folder: Path, created_at: datetime) -> Path:
            path = folder / "affinity-1"
            path.mkdir(parents=True)
            return path

    async def stopped() -> None:
        async with hold(pool, leased) as held, training.written_bundles(pool, held, tmp_path / "bundles") as write:
            assert (await write(Written())).exists()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await stopped()
    assert list((tmp_path / "bundles").iterdir()) == []
    assert (await job(pool, asked.id)).state == "QUEUED"
