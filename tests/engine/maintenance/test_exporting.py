"""The daily export to the lake: a trainer's process carries it out, and tries again until it is done."""

import asyncio
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from aio_pika.abc import AbstractChannel
from pydantic import ValidationError

from bus.rabbitmq import topology
from core import clock
from core.contract import read_event
from core.errors import InvalidInput, StoreUnavailable
from core.settings import EventLake
from db.events import insert_events
from db.lake.days import read_contents
from db.lake.due_exports import request_export
from db.lake.location import Lake
from db.postgres import Pool
from engine.maintenance.exporting import export_day
from engine.maintenance.periodic import due_export
from tests.faults import eventually
from tests.fixtures.worker import BEAT, OFTEN, StartWorker

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> EventLake:
    return EventLake(lake_url=str(tmp_path / "lake"), lake_at=time(3), events_keep=30)


async def store(pool: Pool, *moments: datetime) -> None:
    raw = {"type": "VIEW", "userId": "u", "itemId": "i"}
    given = ({**raw, "id": at.isoformat(), "occurredAt": at} for at in moments)
    await insert_events(pool, [read_event(each, source="shop", received_at=None) for each in given])


def days(settings: EventLake) -> list[str]:
    return [day.isoformat() for day in read_contents(Lake.at(settings.lake_url or "")).days]


async def test_an_export_is_requested_once_a_day_and_again_while_it_is_not_done(
    pool: Pool, settings: EventLake
) -> None:
    due = MONDAY.replace(hour=4)
    assert await due_export(pool, EventLake(), due) is None
    assert await due_export(pool, settings, MONDAY.replace(hour=2)) is None
    periods = await asyncio.gather(*(due_export(pool, settings, due) for _ in range(4)))
    assert [day for day in periods if day] == ["2026-01-05"]
    assert not await request_export(pool, "2026-01-05", timedelta(hours=1))
    assert await request_export(pool, "2026-01-05", timedelta(0))
    await export_day(pool, settings, "2026-01-05")
    assert not await request_export(pool, "2026-01-05", timedelta(0))
    assert await due_export(pool, settings, due + timedelta(days=1)) == "2026-01-06"


async def test_an_export_writes_days_and_drops_old_months(pool: Pool, settings: EventLake) -> None:
    yesterday = clock.now() - timedelta(days=1, hours=2)
    await store(pool, MONDAY, yesterday, clock.now())
    await export_day(pool, settings, "2026-01-05")  # not requested
    assert days(settings) == []
    await request_export(pool, "2026-01-05")
    await export_day(pool, settings, "2026-01-05")
    assert days(settings) == ["2026-01-05", yesterday.date().isoformat()]
    assert await pool.fetchval("SELECT count(*) FROM events") == 2
    await store(pool, MONDAY - timedelta(hours=1))
    await export_day(pool, settings, "2026-01-05")  # it is done
    assert await pool.fetchval("SELECT count(*) FROM events") == 3


async def test_without_a_lake_or_a_limit_no_month_is_dropped(pool: Pool, settings: EventLake) -> None:
    await store(pool, MONDAY)
    for chosen in (EventLake(events_keep=1), settings.model_copy(update={"events_keep": None})):
        await request_export(pool, "2026-01-05", timedelta(0))
        await export_day(pool, chosen, "2026-01-05")
        assert await pool.fetchval("SELECT count(*) FROM events") == 1
    assert days(settings) == ["2026-01-05"]


async def test_an_export_that_failed_is_not_done(pool: Pool) -> None:
    await store(pool, MONDAY)
    await request_export(pool, "2026-01-05")
    with pytest.raises(StoreUnavailable):
        await export_day(pool, EventLake(lake_url="/proc/nowhere", events_keep=1), "2026-01-05")
    assert await request_export(pool, "2026-01-05", timedelta(0))
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("LAKE_URL", "hush"), ("LAKE_URL", "~/hush"), ("LAKE_URL", "file:hush"), ("EVENTS_KEEP", "36501")],
)
def test_an_invalid_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"PENCHANT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()) as refused:
        EventLake()
    assert value not in str(refused.value)


async def test_no_month_is_dropped_for_a_lake_in_memory(pool: Pool) -> None:
    await store(pool, MONDAY)
    await request_export(pool, "2026-01-05")
    with pytest.raises(InvalidInput, match="cannot hold a lake"):
        await export_day(pool, EventLake(lake_url="memory://shop", events_keep=1), "2026-01-05")
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


async def test_the_longest_time_to_keep_events_is_valid(pool: Pool, settings: EventLake) -> None:
    await store(pool, MONDAY)
    await request_export(pool, "2026-01-05")
    await export_day(pool, settings.model_copy(update={"events_keep": 36_500}), "2026-01-05")
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


@pytest.fixture
async def quiet(channel: AbstractChannel) -> None:
    """Empty queues."""
    for queue in (topology.TRAINING, topology.PERIODIC, topology.LAKE):
        await (await channel.get_queue(queue.name)).purge()


async def test_beat_worker_and_trainer_carry_out_the_export_together(
    pool: Pool, quiet: None, settings: EventLake, start_worker: StartWorker
) -> None:
    await store(pool, MONDAY)
    now = clock.now()
    named = {
        "PENCHANT_LAKE_URL": settings.lake_url or "",
        "PENCHANT_LAKE_AT": f"{now - timedelta(minutes=1):%H:%M}",
        "PENCHANT_EVENTS_KEEP": "30",
        "PENCHANT_RETRAIN_DAILY": "false",
    }
    start_worker(command=("trainer",), **named)
    start_worker(**named)
    start_worker(OFTEN, command=BEAT, **named)

    async def done() -> bool:
        return bool(await pool.fetchval("SELECT true FROM lake_exports WHERE finished_at IS NOT NULL"))

    await eventually(done, within=120)
    assert days(settings) == ["2026-01-05"]
    assert await pool.fetchval("SELECT count(*) FROM events") == 0
