"""What serves: swapped in whole, refused when damaged, back within a poll."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from core import clock
from core.contract import read_event
from core.tasks import end
from db.cache import SERVING_CHANGED, connect_redis, hint_serving
from db.events import insert_events
from db.items import upsert_items
from db.postgres import Pool
from db.serving import promote
from engine.catalogue.catalogue import Catalogue
from engine.recommending.serving_models import KEPT_BUNDLES, REOPENED_BUNDLES, ServingModels
from engine.recommending.trends import Trends
from ml.affinity.model import AffinityModel
from tests.faults import eventually

IDS = ("milk", "soap", "vase")
LARGE = 20_000  # items
NOW = datetime(2026, 1, 5, tzinfo=UTC)
MakeBundle = Callable[..., Path]
Serve = Callable[[Pool, Path], Awaitable[str]]


@pytest.fixture
async def catalogue(pool: Pool) -> Catalogue:
    await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in IDS])
    catalogue = Catalogue(pool, poll=1)
    await catalogue.load()
    return catalogue


@pytest.fixture
def models(pool: Pool, catalogue: Catalogue, tmp_path: Path) -> ServingModels:
    return serving_models(pool, tmp_path / "bundles", catalogue, poll=0.01)


def serving_models(
    pool: Pool, bundles: Path, catalogue: Catalogue, *, poll: float, redis: Redis | None = None
) -> ServingModels:
    trends = Trends(pool, timedelta(days=28), empty_age=poll)
    return ServingModels(pool, bundles, catalogue, poll=poll, trends=trends, redis=redis)


def serving_id(models: ServingModels) -> str | None:
    return models.current.id if models.current else None


def bought(models: ServingModels, bundle: AffinityModel | None = None) -> list[int]:
    """What fills a list before items that nobody bought."""
    lately, earlier, _ = models.fallback(bundle).order
    return list(dict.fromkeys([*lately.tolist(), *earlier.tolist()]))


async def test_nothing_serves_before_the_first_promotion(models: ServingModels) -> None:
    await models.load()
    assert models.current is None
    assert models.refused is None
    assert bought(models) == []


async def test_promotions_and_rollbacks_change_the_bundle_that_serves(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    watch = asyncio.create_task(models.run())
    first = await serving(pool, make_bundle(catalogue, IDS, seed=1))
    await eventually(lambda: serving_id(models) == first)
    opened = models.current
    second = await serving(pool, make_bundle(catalogue, IDS, seed=2))
    await eventually(lambda: serving_id(models) == second)
    await promote(pool, first, "back again", {}, "test", action="ROLLED_BACK")
    await eventually(lambda: serving_id(models) == first)
    assert models.current is opened  # a rollback opens no file
    await end([watch])


async def test_the_last_three_bundles_stay_in_memory(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    ids = []
    for seed in range(KEPT_BUNDLES + 1):
        ids.append(await serving(pool, make_bundle(catalogue, IDS, seed=seed)))
        await models.load()
        assert serving_id(models) == ids[-1]
    assert models.by_id(ids[0]) is None
    assert [bundle.id for id in ids[1:] if (bundle := models.by_id(id))] == ids[1:]


def damage(path: Path) -> None:
    file = path / "numbers.npy"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")


def halve(path: Path) -> None:
    (path / "near.npy").unlink()


def cut_short(path: Path) -> None:
    file = path / "near.npy"
    file.chmod(0o644)
    os.truncate(file, file.stat().st_size // 2)


def remove(path: Path) -> None:
    shutil.rmtree(path)


@pytest.mark.parametrize("spoil", [damage, halve, cut_short, remove])
async def test_a_damaged_bundle_is_refused_and_logged_and_the_old_one_serves_on(
    models: ServingModels,
    pool: Pool,
    catalogue: Catalogue,
    make_bundle: MakeBundle,
    serving: Serve,
    spoil: Callable[[Path], None],
) -> None:
    good = await serving(pool, make_bundle(catalogue, IDS, seed=1))
    await models.load()
    bad = make_bundle(catalogue, IDS, seed=2)
    await serving(pool, bad)
    kept = shutil.copytree(bad, bad.parent / "kept")
    spoil(bad)
    with capture_logs() as logs:
        await models.load()
    assert serving_id(models) == good
    assert models.refused
    assert [(line["log_level"], line["bundle"]) for line in logs if line["event"] == "bundle_refused"] == [
        ("error", bad.name)
    ]
    shutil.rmtree(bad, ignore_errors=True)
    kept.rename(bad)
    watch = asyncio.create_task(models.run())
    await eventually(lambda: serving_id(models) == bad.name)  # it is tried again, in case its files were on their way
    assert not models.refused
    await end([watch])


async def test_a_refused_bundle_does_not_delay_the_next_one(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    bad = make_bundle(catalogue, IDS, seed=1)
    await serving(pool, bad)
    damage(bad)
    for _ in range(5):
        await models.load()
    good = await serving(pool, make_bundle(catalogue, IDS, seed=2))
    await models.load()
    assert serving_id(models) == good


async def test_a_bundle_of_another_catalogue_is_refused(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    path = make_bundle(catalogue, IDS)
    await pool.execute("TRUNCATE items RESTART IDENTITY CASCADE")
    await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in ("another", "milk")])
    other = Catalogue(pool, poll=1)
    await other.load()
    models = serving_models(pool, path.parent, other, poll=0.01)
    await serving(pool, path)
    await models.load()
    assert models.current is None
    assert "other numbers" in (models.refused or "")


async def test_during_a_hundred_swaps_every_reader_sees_one_whole_bundle(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    ids = [await serving(pool, make_bundle(catalogue, IDS, seed=seed)) for seed in (1, 2)]
    digests = {AffinityModel.open(models._bundles / id).digest for id in ids}
    await models.load()
    watch = asyncio.create_task(models.run())
    for swap in range(100):
        await promote(pool, ids[swap % 2], "swap", {}, "test")
        for _ in range(3):
            await asyncio.sleep(0)
            assert models.current is not None
            assert models.current.digest in digests
    await eventually(lambda: serving_id(models) == ids[1])
    await end([watch])


async def purchases(pool: Pool, *bought: tuple[str, str, timedelta]) -> None:
    now = clock.now()
    events = [
        read_event(
            {
                "type": "PURCHASE",
                "userId": who,
                "itemId": item,
                "id": f"{who}-{item}",
                "occurredAt": (now - ago).isoformat(),
            },
            source="till",
            received_at=now,
        )
        for who, item, ago in bought
    ]
    await insert_events(pool, events)


async def test_the_fallback_is_the_items_most_people_bought_lately(
    models: ServingModels, pool: Pool, catalogue: Catalogue
) -> None:
    day = timedelta(days=1)
    await purchases(pool, ("a", "soap", day), ("b", "soap", day), ("a", "milk", day), ("c", "vase", 40 * day))
    await models.load()
    assert bought(models) == catalogue.numbers_of(["soap", "milk", "vase"]).tolist()


async def test_polling_continues_after_a_failed_poll(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    await pool.execute("ALTER TABLE serving RENAME TO hidden")
    watch = asyncio.create_task(models.run())
    try:
        with capture_logs() as logs:
            await eventually(lambda: len(logs) >= 2)
        assert {line["event"] for line in logs} == {"store_unavailable"}
    finally:
        await pool.execute("ALTER TABLE hidden RENAME TO serving")
    id = await serving(pool, make_bundle(catalogue, IDS))
    await eventually(lambda: serving_id(models) == id)
    await end([watch])


async def test_a_list_is_filled_from_the_bundle_that_made_it_after_another_was_promoted(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    await serving(pool, make_bundle(catalogue, IDS[:2], seed=1))
    await models.load()
    made_by = models.current
    await serving(pool, make_bundle(catalogue, IDS[2:], seed=2))
    await models.load()
    assert bought(models, made_by) == catalogue.numbers_of(IDS[:2]).tolist()
    assert bought(models, models.current) == catalogue.numbers_of(IDS[2:]).tolist()


async def test_a_slow_count_of_popular_items_does_not_delay_a_swap(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    watch = asyncio.create_task(models.run())
    async with pool.acquire() as held, held.transaction():
        await held.execute("LOCK TABLE events")  # whoever counts purchases waits
        id = await serving(pool, make_bundle(catalogue, IDS))
        await eventually(lambda: serving_id(models) == id)
    await end([watch])


def private_megabytes() -> float:
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    return sum(int(line[1]) for line in lines if line[0] in ("Private_Dirty:", "Private_Clean:")) / 1024


async def test_three_large_bundles_take_little_private_memory(
    pool: Pool, make_bundle: MakeBundle, serving: Serve, tmp_path: Path
) -> None:
    ids = [f"item {number}" for number in range(LARGE)]
    for at in range(0, LARGE, 5_000):
        await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in ids[at : at + 5_000]])
    catalogue = Catalogue(pool, poll=1)
    await catalogue.load()
    models = serving_models(pool, tmp_path / "bundles", catalogue, poll=0.01)
    paths = [make_bundle(catalogue, ids, seed=seed) for seed in range(2 * KEPT_BUNDLES)]
    sizes = []
    for path in paths:
        await serving(pool, path)
        await models.load()
        sizes.append(private_megabytes())
    assert sizes[KEPT_BUNDLES - 1] - sizes[0] < 10 * (KEPT_BUNDLES - 1)
    assert sizes[-1] - sizes[KEPT_BUNDLES - 1] < 10  # what is no longer held is given back


async def test_a_hint_loads_the_next_bundle_before_the_next_poll(
    pool: Pool, redis: Redis, tmp_path: Path, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    models = serving_models(pool, tmp_path / "bundles", catalogue, poll=3600, redis=redis)
    watch = asyncio.create_task(models.run())
    while not (await redis.pubsub_numsub(SERVING_CHANGED))[0][1]:  # noqa: ASYNC110 - Redis sends no signal
        await asyncio.sleep(0)
    served = [serving_id(models)]
    for seed in (1, 2):
        served.append(await serving(pool, make_bundle(catalogue, IDS, seed=seed)))
        await hint_serving(redis)
        await eventually(lambda: serving_id(models) == served[-1])
    await end([watch])


async def test_without_redis_polling_continues(
    pool: Pool, tmp_path: Path, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    nowhere = connect_redis("redis://127.0.0.1:1/0", 0.05)
    models = serving_models(pool, tmp_path / "bundles", catalogue, poll=0.01, redis=nowhere)
    watch = asyncio.create_task(models.run())
    promoted = await serving(pool, make_bundle(catalogue, IDS, seed=1))
    await eventually(lambda: serving_id(models) == promoted)
    await end([watch])
    await nowhere.aclose()


async def test_a_bundle_that_a_cursor_names_is_opened_again_and_few_are_kept(
    models: ServingModels, pool: Pool, catalogue: Catalogue, make_bundle: MakeBundle, serving: Serve
) -> None:
    paths = [make_bundle(catalogue, IDS, seed=seed) for seed in range(REOPENED_BUNDLES + 2)]
    await serving(pool, paths[-1])
    await models.load()
    for path in paths[:-1]:
        opened = [await models.pinned(path.name) for _ in range(2)]
        assert opened[0] is not None
        assert opened[0] is opened[1]
        assert opened[0].id == path.name
        assert models.by_id(path.name) is None
    assert await models.pinned(paths[-1].name) is models.current
    shutil.rmtree(paths[0])
    assert await models.pinned(paths[0].name) is None, "it was dropped for a later one, and is gone now"
    assert await models.pinned(paths[1].name) is not None
    assert await models.pinned("../bundles") is None
