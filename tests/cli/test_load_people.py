"""`penchant load` and people: guests who became users, erased people, and rejects without personal data."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.erasures import begin_erasure
from db.identities import join_guest
from db.merged_users import merge_into
from db.postgres import Pool
from tests.commands import invoke

HEADER = "type,occurredAt,anonymousId,userId,itemId"
SECRET = "confidential"

Load = Callable[[str, list[str]], tuple[int, int, list[tuple[int, str]]]]


@pytest.fixture
def load(database: str) -> Load:
    """Loads these lines of events: how many were stored, how many were known, and line and field of each reject."""

    def run(name: str, lines: list[str]) -> tuple[int, int, list[tuple[int, str]]]:
        Path(name).write_text("".join(f"{line}\n" for line in lines))
        result = invoke("load", "events", name, "--json")
        assert result.exit_code in (0, 1), result.output
        counts, file = json.loads(result.stdout), Path(f"{name}.rejects.jsonl")
        rejects = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        assert len(rejects) == counts["rejected"]
        return counts["stored"], counts["duplicate"], [(each["line"], each["field"]) for each in rejects]

    return run


def log(*people: str) -> list[str]:
    """A view a second, from noon on."""
    return [HEADER, *(f"VIEW,2026-01-05T12:00:{second:02}Z,{who},i1" for second, who in enumerate(people))]


async def people_of_events(pool: Pool) -> list[tuple[str | None, str | None]]:
    rows = await pool.fetch("SELECT anonymous_id, user_id FROM events ORDER BY occurred_at")
    return [(row["anonymous_id"], row["user_id"]) for row in rows]


async def test_events_of_a_guest_are_loaded_as_events_of_the_user_they_became(load: Load, pool: Pool) -> None:
    await join_guest(pool, "g1", "anna", "shop")
    lines = log("g1,", "g2,", ",bert", "g1,bert")
    assert await asyncio.to_thread(load, "log.csv", lines) == (4, 0, [])
    assert await people_of_events(pool) == [("g1", "anna"), ("g2", None), (None, "bert"), ("g1", "bert")]
    assert await asyncio.to_thread(load, "log.csv", lines) == (0, 4, [])


async def test_events_of_merged_users_and_their_guests_are_loaded_as_those_of_the_user_that_stays(
    load: Load, pool: Pool
) -> None:
    await join_guest(pool, "g1", "old", "shop")
    await merge_into(pool, "old", "anna", "shop")
    lines = log("g1,", ",old", "g2,old", ",anna", ",bert")
    assert await asyncio.to_thread(load, "log.csv", lines) == (5, 0, [])
    owned = [("g1", "anna"), (None, "anna"), ("g2", "anna"), (None, "anna"), (None, "bert")]
    assert await people_of_events(pool) == owned
    assert await asyncio.to_thread(load, "log.csv", lines) == (0, 5, [])


async def test_events_from_before_an_erasure_are_not_loaded(load: Load, pool: Pool) -> None:
    await join_guest(pool, "g1", "anna", "shop")
    await begin_erasure(pool, "anna", "shop", datetime(2026, 1, 6, tzinfo=UTC))
    lines = [*log("g1,", "g2,", ",anna", ",bert", "g2,anna", "g1,bert"), "VIEW,2026-01-06T12:00:00Z,,anna,i1"]
    gone = [(line, "occurredAt") for line in (2, 4, 6)]
    assert await asyncio.to_thread(load, "log.csv", lines) == (4, 0, gone)
    assert await people_of_events(pool) == [("g2", None), (None, "bert"), ("g1", "bert"), (None, "anna")]
    assert await asyncio.to_thread(load, "log.csv", lines) == (0, 4, gone)


@pytest.mark.usefixtures("pool")
def test_rejects_repeat_no_value_of_their_line(load: Load) -> None:
    lines = [
        f"{SECRET},2026-01-05T12:00:00Z,u1,i1,,,",
        f"VIEW,{SECRET},u1,i1,,,",
        f"VIEW,2026-01-05T12:00:00Z,{SECRET * 20},i1,,,",
        f"VIEW,2026-01-05T12:00:00Z,u1,,{SECRET},,",
        f"VIEW,2026-01-05T12:00:00Z,u1,i1,{SECRET},,",
        f"VIEW,2026-01-05T12:00:00Z,u1,i1,1,{SECRET},{SECRET}",
        f"VIEW,2026-01-05T12:00:00Z,u1,i1,1,1,{SECRET}",
        f"{SECRET},too,many,values,1,1,EUR,{SECRET},{SECRET}",
    ]
    records = [{"userId": SECRET, "type": [SECRET]}, [SECRET], {"type": "VIEW", "properties": SECRET, "userId": SECRET}]
    header = "type,occurredAt,userId,itemId,quantity,unitPrice,currency"
    for name, content in (
        ("log.csv", [header, *lines]),
        ("log.jsonl", [*map(json.dumps, records), f'{{"userId": "{SECRET}']),
    ):
        stored, known, rejects = load(name, content)
        assert (stored, known, len(rejects)) == (0, 0, 8 if name == "log.csv" else 4)
        assert SECRET not in Path(f"{name}.rejects.jsonl").read_text()
