"""Old bundles are deleted: never one that serves, that served lately, that a rollback leads to, or that is read."""

import gc
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from core.errors import InvalidInput
from core.settings import Bundles
from db.postgres import Pool
from db.serving import Model, model_by_id, promote, refuse, register_model, roll_back
from engine.models.promoting import promote_model
from engine.models.pruning import prune_bundles
from ml.bundle import DELETING, WRITING, Bundle, BundleRefused, unread, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEEP = Bundles(bundles_keep=2, bundles_keep_served=30)
Make = Callable[[int], Awaitable[list[str]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


@pytest.fixture
def make(pool: Pool, folder: Path) -> Make:
    """Written and registered bundles, a day apart, oldest first; all but the first were refused."""

    async def bundles(count: int) -> list[str]:
        made = []
        for day in range(count):
            at = NOW - timedelta(days=200 - day)
            opened = Bundle.open(write(folder, "affinity", {"part": np.arange(3)}, at))
            await register_model(pool, Model(opened.id, "affinity", at, opened.digest, {}, None))
            await refuse(pool, opened.id, "no", {}, "gate")
            made.append(opened.id)
        return made

    return bundles


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def back_date(pool: Pool, days: int) -> None:
    """Move all decisions so far into the past."""
    await pool.execute("UPDATE decisions SET decided_at = $1", NOW - timedelta(days=days))


async def test_the_newest_bundles_stay_and_older_ones_that_never_served_are_deleted(
    pool: Pool, make: Make, folder: Path
) -> None:
    made = await make(5)
    assert await prune_bundles(pool, folder, KEEP, NOW) == made[:3]
    assert there(folder) == made[3:]
    assert await prune_bundles(pool, folder, KEEP, NOW) == []
    model = await model_by_id(pool, made[0])
    assert model is not None
    assert model.pruned_at is not None


async def test_the_bundle_that_serves_the_one_before_it_and_those_that_served_lately_stay(
    pool: Pool, make: Make, folder: Path
) -> None:
    long_ago, lately, before, serving, *others = await make(8)
    await promote(pool, long_ago, "1", {}, "ada")
    await promote(pool, lately, "2", {}, "ada")
    await back_date(pool, 300)
    await promote(pool, before, "3", {}, "ada")  # until now `lately` served
    await pool.execute("UPDATE decisions SET decided_at = $1 WHERE reason = '3'", NOW - timedelta(days=20))
    await promote(pool, serving, "4", {}, "ada")
    assert await prune_bundles(pool, folder, KEEP, NOW) == [long_ago, *others[:2]]
    later = NOW + timedelta(days=400)
    assert await prune_bundles(pool, folder, KEEP, later) == [lately]
    assert there(folder) == [before, serving, *others[2:]]
    assert (await roll_back(pool, "worse", "ada")).bundle == before


async def test_a_bundle_that_is_read_stays_until_nobody_reads_it(pool: Pool, make: Make, folder: Path) -> None:
    oldest, *_ = await make(3)
    opened = Bundle.open(folder / oldest)
    assert await prune_bundles(pool, folder, KEEP, NOW) == []
    assert opened.array("part").tolist() == [0, 1, 2]
    model = await model_by_id(pool, oldest)
    assert model is not None
    assert model.pruned_at is None, "it may still be promoted"
    del opened
    gc.collect()
    assert await prune_bundles(pool, folder, KEEP, NOW) == [oldest]


async def test_a_bundle_that_is_being_deleted_is_not_opened(make: Make, folder: Path) -> None:
    (id,) = await make(1)
    gc.collect()
    with unread(folder / id) as free:
        assert free
        with pytest.raises(BundleRefused, match="being deleted"):
            Bundle.open(folder / id)
    assert Bundle.open(folder / id).id == id


async def test_a_model_whose_files_were_deleted_cannot_be_promoted(
    pool: Pool, redis: Redis, make: Make, folder: Path
) -> None:
    oldest, *_ = await make(3)
    assert await prune_bundles(pool, folder, KEEP, NOW) == [oldest]
    with pytest.raises(InvalidInput, match=r"files of the model .* were deleted"):
        await promote(pool, oldest, "why", {}, "ada")
    with pytest.raises(InvalidInput):
        await promote_model(pool, redis, folder, oldest, "why", "ada", override_gate=True)


async def test_what_killed_processes_left_is_deleted_after_a_day(pool: Pool, make: Make, folder: Path) -> None:
    (kept,) = await make(1)
    for age, name in enumerate((f"{WRITING}new", f"{WRITING}old", f"{DELETING}old")):
        (folder / name).mkdir()
        (folder / name / "part.npy").touch()
        second = NOW.timestamp() - 2 * 86_400 * age
        os.utime(folder / name, (second, second))
    (folder / "not-ours").mkdir()
    await prune_bundles(pool, folder, KEEP, NOW)
    assert there(folder) == [f"{WRITING}new", kept, "not-ours"]


async def test_a_folder_that_is_not_there_is_no_error(pool: Pool, tmp_path: Path) -> None:
    assert await prune_bundles(pool, tmp_path / "nowhere", KEEP, NOW) == []
