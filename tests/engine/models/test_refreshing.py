"""The tables of what serves are rebuilt by a job, and serve by one decision."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from core import clock
from core.contract import Event, read_event
from core.settings import Lists, Schedule, Stores
from db.events import insert_events
from db.items import upsert_items
from db.jobs import REFRESH, Job, LeaseLost, job_by_id, lease_job, list_jobs, request_job
from db.postgres import Pool
from db.serving import (
    Model,
    bundle_before,
    current_serving,
    list_decisions,
    model_by_id,
    promote,
    prunable_bundles,
    register_model,
    roll_back,
)
from engine.maintenance.periodic import do_periodic_work
from engine.models import refreshing
from engine.models.refreshing import refresh_tables
from engine.models.texts import catalogue_words
from engine.models.training import as_log, stored_purchases
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.interest import Interest
from ml.rfm import FALLBACK_EDGES
from ml.snapshot import best_supported, snapshot
from ml.texts.learning import learned_projection
from ml.texts.likeness import Support, cold_items

PEOPLE, ITEMS = 12, 10


def purchase(person: int, item: str, at: datetime) -> Event:
    raw = {
        "type": "PURCHASE",
        "userId": f"person-{person}",
        "itemId": item,
        "orderId": f"{person}-{at.isoformat()}",
        "id": f"{person}-{item}-{at.isoformat()}",
        "occurredAt": at.isoformat(),
        "unitPrice": "1.50",
        "currency": "EUR",
    }
    return read_event(raw, source="shop", received_at=at)


async def small_shop(pool: Pool, now: datetime) -> None:
    """Everybody bought old items weekly, until yesterday a new one."""
    await upsert_items(pool, [{"id": f"i{n}", "updated_at": now} for n in range(ITEMS)])
    await upsert_items(pool, [{"id": "new", "updated_at": now}])
    bought = [
        purchase(person, f"i{(person + week) % ITEMS}", now - timedelta(weeks=week, hours=person))
        for person in range(PEOPLE)
        for week in range(5, 12)
    ]
    bought += [purchase(person, "new", now - timedelta(days=1, minutes=person)) for person in range(PEOPLE)]
    await insert_events(pool, bought)


SEEDS = count()  # no two bundles of a second are the same


async def old_model(pool: Pool, folder: Path, now: datetime, weight: float = 1.0, *, with_words: bool = False) -> str:
    """A bundle with tables as of four weeks ago, registered."""
    log = as_log(await stored_purchases(pool, None), {}, await catalogue_words(pool))
    cut = int((now - timedelta(weeks=4)).timestamp())
    past = log.between(None, cut)
    numbers = best_supported(past, 100)
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    weights = np.array(FEATURES.ordered(dict.fromkeys(FEATURES, 0.0) | {"lines": weight}), np.float32)[:, None]
    universe = snapshot(past, numbers, cut)
    if with_words:
        projection = learned_projection(past, numbers, cut, 7)
        assert projection and past.words
        cold = cold_items(projection, past.words, numbers, Support.of(past, 100))
        universe = universe.with_cold(cold.with_chance(1.0, -2.0))
    path = write(
        folder,
        universe,
        Network((weights,), (np.zeros(1, np.float32),)),
        item_ids=[id_of[number] for number in numbers.tolist()],
        rfm_edges=FALLBACK_EDGES,
        evaluation={"people": 7},
        created_at=now,
        training={"settings": {"item_limit": 100}, "seed": next(SEEDS)},
    )
    opened = AffinityModel.open(path)
    await register_model(
        pool, Model(opened.id, "affinity", opened.created_at, opened.digest, opened.evaluation, "3", opened.training)
    )
    return opened.id


async def leased(pool: Pool) -> Job:
    await request_job(pool, REFRESH, "test", "ada")
    job = await lease_job(pool, REFRESH)
    assert job
    return job


async def serves(pool: Pool) -> str:
    row = await current_serving(pool)
    assert row
    return row.bundle


def bundles_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(stores: Stores) -> Path:
    return stores.bundles


async def test_without_purchases_to_build_from_the_tables_stay_and_no_job_fails(
    pool: Pool, stores: Stores, folder: Path
) -> None:
    await small_shop(pool, clock.now())
    old = await old_model(pool, folder, clock.now())
    await promote(pool, old, "first", {}, "ada")
    await pool.execute("DELETE FROM events")
    job, before = await leased(pool), bundles_of(folder)
    assert await refresh_tables(pool, stores, job) is None
    done = await job_by_id(pool, job.id)
    assert done and (done.state, done.bundle, done.error) == ("SUCCEEDED", None, None)
    assert (await serves(pool), bundles_of(folder)) == (old, before)


async def test_an_item_first_sold_yesterday_is_known_after_a_refresh(pool: Pool, stores: Stores, folder: Path) -> None:
    now = clock.now()
    await small_shop(pool, now)
    old = await old_model(pool, folder, now)
    await promote(pool, old, "first", {}, "ada")
    assert "new" not in AffinityModel.open(folder / old).item_ids
    job = await leased(pool)
    made = await refresh_tables(pool, stores, job)
    assert made is not None and made != old and await serves(pool) == made
    assert "new" in AffinityModel.open(folder / made).item_ids
    done, model = await job_by_id(pool, job.id), await model_by_id(pool, made)
    assert done and (done.state, done.bundle) == ("SUCCEEDED", made)
    assert model and (model.refreshed_from, model.evaluation, model.registry_version) == (old, {"people": 7}, "3")
    newest = (await list_decisions(pool, 1))[0]
    assert (newest.action, newest.bundle, newest.previous) == ("REFRESHED", made, old)
    assert newest.reason.startswith("tables as of ") and newest.evidence["refreshed_from"] == old


async def test_a_refresh_that_changes_nothing_is_no_decision(
    pool: Pool, stores: Stores, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    await small_shop(pool, now)
    await promote(pool, await old_model(pool, folder, now), "first", {}, "ada")
    made = await refresh_tables(pool, stores, await leased(pool))
    before = bundles_of(folder)
    job = await leased(pool)
    assert await refresh_tables(pool, stores, job) is None
    done = await job_by_id(pool, job.id)
    assert done and (done.state, done.bundle) == ("SUCCEEDED", None)
    assert await serves(pool) == made and bundles_of(folder) == before
    assert [each.action for each in await list_decisions(pool, 10)] == ["REFRESHED", "PROMOTED"]


async def test_a_rollback_leads_to_the_model_before_and_not_to_older_tables(
    pool: Pool, stores: Stores, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    await small_shop(pool, now)
    first, second = await old_model(pool, folder, now), await old_model(pool, folder, now, weight=2.0)
    await promote(pool, first, "first", {}, "ada")
    fresh_first = await refresh_tables(pool, stores, await leased(pool))
    await promote(pool, second, "better", {}, "gate")
    for days in (1, 2):
        monkeypatch.setattr(clock, "now", lambda days=days: now + timedelta(days=days))
        await insert_events(pool, [purchase(1, "new", now + timedelta(days=days, hours=-1))])
        assert await refresh_tables(pool, stores, await leased(pool))
    assert await bundle_before(pool) == fresh_first
    assert (await roll_back(pool, "worse", "ada")).bundle == fresh_first
    assert await bundle_before(pool) is None


async def test_tables_that_were_refreshed_again_are_not_kept_as_having_served(
    pool: Pool, stores: Stores, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    await small_shop(pool, now)
    old = await old_model(pool, folder, now)
    await promote(pool, old, "first", {}, "ada")
    made = []
    for days in range(1, 4):
        monkeypatch.setattr(clock, "now", lambda days=days: now + timedelta(days=days))
        await insert_events(pool, [purchase(1, "new", now + timedelta(days=days, hours=-1))])
        made.append(await refresh_tables(pool, stores, await leased(pool)))
    assert await prunable_bundles(pool, 1, now - timedelta(days=90)) == made[:-1]
    assert old not in await prunable_bundles(pool, 1, now - timedelta(days=90)), "it was promoted lately"


async def test_a_model_promoted_meanwhile_goes_on_and_gets_the_tables(
    pool: Pool, stores: Stores, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    await small_shop(pool, now)
    first, second = await old_model(pool, folder, now), await old_model(pool, folder, now, weight=2.0)
    await promote(pool, first, "first", {}, "ada")
    build, built = refreshing._refreshed, list[str]()

    async def overtaken(pool: Pool, folder: Path, id: str, lake: str | None, assumed: Interest) -> object:
        made = await build(pool, folder, id, lake, assumed)
        if not built:
            await promote(pool, second, "better", {}, "gate")
        built.append(id)
        return made

    monkeypatch.setattr(refreshing, "_refreshed", overtaken)
    made = await refresh_tables(pool, stores, await leased(pool))
    assert built == [first, second]
    model = await model_by_id(pool, made or "")
    assert model and model.refreshed_from == second and await serves(pool) == made
    known = {first, second, made}
    assert bundles_of(folder) >= known
    assert len(await list_decisions(pool, 10)) == 3


async def test_a_stalled_refresh_that_comes_back_registers_nothing(pool: Pool, stores: Stores, folder: Path) -> None:
    now = clock.now()
    await small_shop(pool, now)
    old = await old_model(pool, folder, now)
    await promote(pool, old, "first", {}, "ada")
    await request_job(pool, REFRESH, "test", "ada")
    stalled = await lease_job(pool, REFRESH, timedelta(seconds=-1))
    assert stalled and await lease_job(pool, REFRESH)
    before = bundles_of(folder)
    with pytest.raises(LeaseLost):
        await refresh_tables(pool, stores, stalled)
    assert await serves(pool) == old and bundles_of(folder) == before


async def test_two_trainers_refresh_once(pool: Pool, stores: Stores, folder: Path) -> None:
    now = clock.now()
    await small_shop(pool, now)
    await promote(pool, await old_model(pool, folder, now), "first", {}, "ada")
    await request_job(pool, REFRESH, "test", "ada")
    job = await lease_job(pool, REFRESH)
    assert job and await lease_job(pool, REFRESH) is None
    assert await refresh_tables(pool, stores, job) is not None


async def test_the_refresh_of_the_day_is_requested_once_where_something_serves(pool: Pool, folder: Path) -> None:
    noon = datetime(2026, 1, 5, 3, tzinfo=UTC)
    schedule, lists = Schedule(retrain_daily=False), Lists()
    assert await do_periodic_work(pool, schedule, lists, noon) == []
    await small_shop(pool, clock.now())
    await promote(pool, await old_model(pool, folder, clock.now()), "first", {}, "ada")
    never = Schedule(retrain_daily=False, refresh_daily=False)
    assert await do_periodic_work(pool, never, lists, noon) == []
    kinds = await asyncio.gather(*(do_periodic_work(pool, schedule, lists, noon) for _ in range(4)))
    assert sorted(kinds) == [[], [], [], [REFRESH]]
    (job,) = await list_jobs(pool, 10)
    assert (job.kind, job.requested_by) == (REFRESH, "schedule")


async def test_new_items_cause_a_refresh_that_makes_them_candidates(pool: Pool, stores: Stores, folder: Path) -> None:
    now = clock.now()
    await upsert_items(pool, [{"id": f"i{n}", "updated_at": now, "title": f"tea {n}"} for n in range(30)])
    await insert_events(pool, [purchase(n % 12, f"i{n}", now - timedelta(weeks=5, hours=n)) for n in range(30)])
    await promote(pool, await old_model(pool, folder, now, with_words=True), "first", {}, "ada")
    schedule = Schedule(retrain_daily=False, refresh_daily=False, refresh_new_items=300)

    async def due(schedule: Schedule = schedule) -> list[str]:
        return await do_periodic_work(pool, schedule, Lists(), clock.now())

    assert await due() == [], "nothing is newer than what serves"
    await upsert_items(pool, [{"id": "fresh", "updated_at": now, "title": "tea of today"}])
    assert await due(schedule.model_copy(update={"refresh_new_items": 0})) == []
    assert await due() == [REFRESH]
    assert await due() == [], "one waits"
    job = await lease_job(pool, REFRESH)
    assert job and job.reason == "new items in the catalogue"
    await upsert_items(pool, [{"id": "later", "updated_at": now, "title": "tea of this minute"}])
    assert await due() == [], "one runs"
    made = await refresh_tables(pool, stores, job)
    cold = AffinityModel.open(folder / (made or "")).universe.cold
    number = await pool.fetchval("SELECT number FROM items WHERE id = 'fresh'")
    assert cold and number in cold.numbers
    assert await due() == [], "too soon after the one before"
    await past_jobs(pool, timedelta(seconds=280))
    assert await due() == []
    await past_jobs(pool, timedelta(seconds=30))
    assert await due() == [REFRESH], "one item is newer than the start of the refresh"


async def past_jobs(pool: Pool, ago: timedelta) -> None:
    """As if all jobs had begun and ended so long ago."""
    await pool.execute(
        "UPDATE training_jobs SET started_at = started_at - $1::interval, finished_at = finished_at - $1::interval", ago
    )


async def test_new_items_cause_no_refresh_of_a_model_without_words_or_right_after_a_slow_one(
    pool: Pool, stores: Stores, folder: Path
) -> None:
    await small_shop(pool, clock.now())
    await promote(pool, await old_model(pool, folder, clock.now()), "first", {}, "ada")
    schedule = Schedule(retrain_daily=False, refresh_daily=False)
    await upsert_items(pool, [{"id": "fresh", "updated_at": clock.now(), "title": "tea of today"}])
    assert await do_periodic_work(pool, schedule, Lists(), clock.now()) == [REFRESH], "it is not known yet"
    job = await lease_job(pool, REFRESH)
    assert job and await refresh_tables(pool, stores, job)
    await upsert_items(pool, [{"id": "later", "updated_at": clock.now(), "title": "tea of this minute"}])
    await past_jobs(pool, timedelta(hours=1))
    assert await do_periodic_work(pool, schedule, Lists(), clock.now()) == []
    await pool.execute("UPDATE models SET training = training - 'knows_words'")
    await pool.execute("UPDATE training_jobs SET started_at = finished_at - interval '20 minutes'")
    assert await do_periodic_work(pool, schedule, Lists(), clock.now()) == [], "it took 20 minutes, an hour ago"
    await past_jobs(pool, timedelta(minutes=45))
    assert await do_periodic_work(pool, schedule, Lists(), clock.now()) == [REFRESH]
