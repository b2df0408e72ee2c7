"""Jobs that write the lists of all users: requested once, carried out once, with their progress."""

import asyncio
import errno
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.json as pj
import pyarrow.parquet as pq
import pytest

from bus.envelope import Envelope
from core import clock
from core.contract import read_event
from core.errors import InvalidInput, PlaceRefused, RateLimited, StoreUnavailable
from core.settings import Lists, Stores
from core.uploads import Offer
from db.events import insert_events
from db.items import upsert_items
from db.jobs import MOST_LEASES, Job, LeaseLost, give_up_jobs, job_by_id, lease_job
from db.lake.location import Lake
from db.list_jobs import LISTS, MOST_WAITING, claim_old_files, finish_list_job
from db.postgres import Pool
from engine.catalogue.filters import Filter
from engine.jobs.leases import TrainingStopped
from engine.many_lists import list_files
from engine.many_lists.list_jobs import write_waiting_lists
from engine.many_lists.list_requests import request_lists
from engine.many_lists.wanted_lists import WantedLists
from engine.placements.changing import change_placement

MAIL = WantedLists("mail/de", 3, None, Filter(categories=("c1",), without=Filter(ids=("i1",))))


class Sent(list[Envelope]):
    """A publisher that remembers."""

    async def publish(self, envelope: Envelope) -> None:
        self.append(envelope)


class Away:
    """A publisher without a broker."""

    async def publish(self, envelope: Envelope) -> None:
        raise StoreUnavailable("broker", "The broker is away.")


@pytest.fixture
def place(tmp_path: Path) -> Lists:
    return Lists(lists_url=str(tmp_path / "lists"))


@pytest.fixture
async def shop(pool: Pool) -> None:
    """Three users, eight items, no model."""
    now = clock.now()
    offers = [Offer(None, None, None, None, available=True)]
    items: list[Any] = [
        {"id": f"i{at}", "updated_at": now, "categories": [f"c{at % 2}"], "offers": offers} for at in range(8)
    ]
    await upsert_items(pool, items)
    raws = [
        {
            "type": "PURCHASE",
            "itemId": f"i{at}",
            "occurredAt": now - timedelta(days=2),
            "id": str(at),
            "userId": f"u{at}",
        }
        for at in range(3)
    ]
    await insert_events(pool, [read_event(raw, source="shop", received_at=now) for raw in raws])


async def requested(pool: Pool, place: Lists, wanted: WantedLists = MAIL, publisher: Any = None) -> Job:
    broker: Any = Sent() if publisher is None else publisher
    return await request_lists(pool, broker, place.lists_url, wanted, "for the mail", "ada")


async def again(pool: Pool, job: Job) -> Job:
    found = await job_by_id(pool, job.id)
    assert found
    return found


@pytest.mark.usefixtures("shop")
async def test_a_job_writes_the_list_of_every_user_and_says_where(pool: Pool, stores: Stores, place: Lists) -> None:
    job = await requested(pool, place)
    file = await write_waiting_lists(stores, place)
    assert file == f"{place.lists_url}/mail%2Fde/{job.requested_at:%Y-%m-%d}-{job.id}.parquet"
    rows = pq.read_table(file).to_pylist()
    assert [(row["userId"], row["placement"]) for row in rows] == [
        ("u0", "mail/de"),
        ("u1", "mail/de"),
        ("u2", "mail/de"),
    ]
    assert {item["id"] for row in rows for item in row["items"]} == {"i3", "i5", "i7"}
    done = await again(pool, job)
    assert (done.state, done.list_progress) == (
        "SUCCEEDED",
        {"lists": 3, "model": None, "degraded": 3, "rejected": 0, "file": file},
    )
    assert await write_waiting_lists(stores, place) is None


@pytest.mark.usefixtures("shop")
async def test_the_lists_of_a_file_follow_the_placement(pool: Pool, stores: Stores, place: Lists) -> None:
    settings = {"first": 2, "list": "TRENDING", "filter": {"ids": ["i0", "i1", "i2"]}}
    await change_placement(pool, "mail/de", settings, "tests")
    await requested(pool, place, WantedLists("mail/de"))
    file = await write_waiting_lists(stores, place)
    for row in pq.read_table(file).to_pylist():
        assert [item["reason"] for item in row["items"]] == ["TRENDING"] * 2
        assert {item["id"] for item in row["items"]} <= {"i0", "i1", "i2"}


@pytest.mark.usefixtures("shop")
async def test_lines_of_json_are_written_too(pool: Pool, stores: Stores, place: Lists) -> None:
    await requested(pool, place, WantedLists(format="jsonl"))
    file = await write_waiting_lists(stores, place)
    assert file and file.endswith(".jsonl")
    assert pj.read_json(file).column("userId").to_pylist() == ["u0", "u1", "u2"]


async def test_one_job_waits_for_the_same_lists(pool: Pool, place: Lists) -> None:
    sent = Sent()
    jobs = await asyncio.gather(*(requested(pool, place, publisher=sent) for _ in range(5)))
    assert len({job.id for job in jobs}) == 1 and {envelope.body for envelope in sent} == {b"lists"}
    assert (await requested(pool, place, WantedLists("home"), Away())).id != jobs[0].id
    assert WantedLists.of((await again(pool, jobs[0])).list_request) == MAIL
    assert await lease_job(pool, LISTS)
    assert (await requested(pool, place)).id not in {job.id for job in jobs}


async def test_few_jobs_wait(pool: Pool, place: Lists) -> None:
    for number in range(MOST_WAITING):
        await requested(pool, place, WantedLists(f"p{number}"))
    with pytest.raises(RateLimited, match=f"^{MOST_WAITING} files of lists wait already"):
        await requested(pool, place, WantedLists("one more"))
    assert (await requested(pool, place, WantedLists("p0"))).state == "QUEUED"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (WantedLists(""), "placement"),
        (WantedLists("x" * 65), "placement"),
        (WantedLists(first=101), "first"),
        (WantedLists(filter=Filter(without=Filter(attributes=(("colour", ("red", "\0")),)))), "filter"),
    ],
)
async def test_wrong_lists_are_refused_before_a_job_waits(
    pool: Pool, place: Lists, wanted: WantedLists, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await requested(pool, place, wanted)
    assert refused.value.field == field
    assert await lease_job(pool, LISTS) is None


async def test_without_a_place_nothing_waits_and_a_job_of_before_fails(
    pool: Pool, stores: Stores, place: Lists
) -> None:
    with pytest.raises(InvalidInput, match=r"^PENCHANT_LISTS_URL"):
        await requested(pool, Lists())
    job = await requested(pool, place)
    with pytest.raises(InvalidInput):
        await write_waiting_lists(stores, Lists())
    failed = await again(pool, job)
    assert (failed.state, failed.error) == ("FAILED", "PENCHANT_LISTS_URL names no place for files of lists.")


@pytest.mark.usefixtures("shop")
async def test_a_job_that_lost_its_lease_leaves_no_file(
    pool: Pool, stores: Stores, place: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await requested(pool, place)
    kept = list_files._add_group

    async def while_another_takes_it(*arguments: Any) -> list_files.Written:
        await pool.execute("UPDATE training_jobs SET fencing_token = fencing_token + 1")
        return await kept(*arguments)

    monkeypatch.setattr(list_files, "_add_group", while_another_takes_it)
    with pytest.raises(LeaseLost):
        await write_waiting_lists(stores, place)
    assert [path for path in (tmp_path / "lists").rglob("*") if path.is_file()] == []
    held = await again(pool, job)
    assert held.state == "RUNNING"
    with pytest.raises(LeaseLost):
        await finish_list_job(pool, job, {})


@pytest.mark.parametrize("within", ["", "/home"])
async def test_a_place_that_takes_no_files_ends_the_job_with_its_name(
    pool: Pool, stores: Stores, tmp_path: Path, within: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    place = Lists(lists_url=f"{tmp_path}/file{within}")
    job = await requested(pool, place)
    with pytest.raises(PlaceRefused):
        await write_waiting_lists(stores, place)
    failed = await again(pool, job)
    assert failed.state == "FAILED" and failed.finished_at
    assert failed.error and failed.error.startswith(f"The file at {place.lists_url}/mail%2Fde/")
    assert failed.error.endswith("cannot be written: NotADirectoryError: Not a directory")


@pytest.mark.usefixtures("shop")
async def test_a_full_place_ends_the_job_and_leaves_no_file(
    pool: Pool, stores: Stores, place: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    job = await requested(pool, place)
    with pytest.raises(PlaceRefused):
        await write_waiting_lists(stores, place)
    failed = await again(pool, job)
    assert failed.state == "FAILED" and failed.error
    assert failed.error.endswith("cannot be written: OSError: No space left on device")
    assert [path for path in (tmp_path / "lists").rglob("*") if path.is_file()] == []


async def test_a_place_that_is_away_is_tried_again_and_the_job_says_why(
    pool: Pool, stores: Stores, place: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(Lake, "create", lambda lake, _: _within(lake, away))
    job = await requested(pool, place)
    for _ in range(MOST_LEASES):
        with pytest.raises(StoreUnavailable):
            await write_waiting_lists(stores, place)
        waits = await again(pool, job)
        assert waits.state == "RUNNING" and waits.error and "did not answer: TimeoutError" in waits.error
        await pool.execute("UPDATE training_jobs SET lease_until = now() - interval '1 second'")
    assert await give_up_jobs(pool) == [job.id]
    failed = await again(pool, job)
    assert failed.state == "FAILED" and failed.error
    assert failed.error.startswith("given up: ") and failed.error.endswith(str(waits.error))


def _within(lake: Lake, fails: Callable[[], None]) -> tuple[str, Any]:
    with lake.translated(writes=True):
        fails()
    return "", None


async def test_a_place_with_a_password_is_refused_without_repeating_it(pool: Pool, stores: Stores) -> None:
    place = Lists(lists_url="s3://key:hidden@bucket/lists")
    job = await requested(pool, place)
    with pytest.raises(InvalidInput):
        await write_waiting_lists(stores, place)
    failed = await again(pool, job)
    assert failed.state == "FAILED" and failed.error
    assert failed.error.startswith("PENCHANT_LISTS_URL: ") and "hidden" not in failed.error


async def test_a_trainer_that_ends_begins_no_lists(pool: Pool, stores: Stores, place: Lists) -> None:
    job = await requested(pool, place)
    with pytest.raises(TrainingStopped):
        await write_waiting_lists(stores, place, stopping=lambda: True)
    assert (await again(pool, job)).state == "QUEUED"


@pytest.mark.usefixtures("shop")
async def test_files_that_are_old_are_deleted_and_no_others(
    pool: Pool, stores: Stores, place: Lists, tmp_path: Path
) -> None:
    old, new = await requested(pool, place), await requested(pool, place, WantedLists("home"))
    files = [await write_waiting_lists(stores, place) for _ in range(2)]
    (tmp_path / "lists" / "home" / "2020-01-01-1.parquet").write_text("of somebody else")
    weeks = place.model_copy(update={"lists_keep": 7})
    await pool.execute("UPDATE training_jobs SET finished_at = now() - interval '8 days' WHERE id = $1", old.id)
    claimed = await asyncio.gather(*(claim_old_files(pool, timedelta(days=7)) for _ in range(4)))
    assert sorted(claimed) == [False, False, False, True]
    assert await write_waiting_lists(stores, weeks) is None
    left = {path.name for path in (tmp_path / "lists").rglob("*") if path.is_file()}
    assert left == {Path(str(files[1])).name, "2020-01-01-1.parquet"}
    assert "file" not in ((await again(pool, old)).list_progress or {})
    assert ((await again(pool, new)).list_progress or {})["file"] == files[1]
    assert not await claim_old_files(pool, timedelta(days=7))


@pytest.mark.usefixtures("shop")
async def test_an_old_file_that_cannot_be_deleted_is_tried_again_and_stops_nothing(
    pool: Pool, stores: Stores, place: Lists, tmp_path: Path
) -> None:
    old = await requested(pool, place)
    assert await write_waiting_lists(stores, place)
    await pool.execute("UPDATE training_jobs SET finished_at = now() - interval '31 days'")
    folder = tmp_path / "lists" / "mail%2Fde"
    file = next(folder.iterdir())
    file.unlink()
    file.mkdir()
    await requested(pool, place, WantedLists("home"))
    assert await write_waiting_lists(stores, place)
    assert "file" in ((await again(pool, old)).list_progress or {})
    file.rmdir()
    await write_waiting_lists(stores, place)
    assert "file" not in ((await again(pool, old)).list_progress or {})
