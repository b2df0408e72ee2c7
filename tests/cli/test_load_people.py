"""`penchant load` heeds people: guests who became users, those who were erased, and what a bad line says of anybody."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from cli.main import app
from db.erasures import begin_erasure
from db.identities import join_guest

HEADER = "type,occurredAt,anonymousId,userId,itemId"
SECRET = "confidential"

Load = Callable[[str, list[str]], tuple[int, int, list[tuple[int, str]]]]


@pytest.fixture
def load(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load these lines of events: how many were stored, how many known, and which were set aside for which field."""
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", postgres_url)
    monkeypatch.delenv("PENCHANT_REDIS_URL", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(name: str, lines: list[str]) -> tuple[int, int, list[tuple[int, str]]]:
        Path(name).write_text("".join(f"{line}\n" for line in lines))
        result = CliRunner().invoke(app, ["load", "events", name, "--json"])
        assert result.exit_code in (0, 1), result.output
        told, rejects = json.loads(result.stdout), Path(f"{name}.rejects.jsonl")
        said = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
        assert len(said) == told["rejected"]
        return told["stored"], told["duplicate"], [(each["line"], each["field"]) for each in said]

    return run


def log(*people: str) -> list[str]:
    """A view a second, from noon on."""
    return [HEADER, *(f"VIEW,2026-01-05T12:00:{second:02}Z,{who},i1" for second, who in enumerate(people))]


async def whose(pool: asyncpg.Pool) -> list[tuple[str | None, str | None]]:
    rows = await pool.fetch("SELECT anonymous_id, user_id FROM events ORDER BY occurred_at")
    return [(row["anonymous_id"], row["user_id"]) for row in rows]


async def test_what_a_guest_did_is_loaded_for_the_user_they_became(load: Load, pool: asyncpg.Pool) -> None:
    await join_guest(pool, "g1", "anna", "shop")
    lines = log("g1,", "g2,", ",bert", "g1,bert")
    assert await asyncio.to_thread(load, "log.csv", lines) == (4, 0, [])
    assert await whose(pool) == [("g1", "anna"), ("g2", None), (None, "bert"), ("g1", "bert")]
    assert await asyncio.to_thread(load, "log.csv", lines) == (0, 4, [])


async def test_what_an_erased_person_did_before_is_not_loaded(load: Load, pool: asyncpg.Pool) -> None:
    await join_guest(pool, "g1", "anna", "shop")
    await begin_erasure(pool, "anna", "shop", datetime(2026, 1, 6, tzinfo=UTC))
    lines = [*log("g1,", "g2,", ",anna", ",bert", "g2,anna", "g1,bert"), "VIEW,2026-01-06T12:00:00Z,,anna,i1"]
    gone = [(line, "occurredAt") for line in (2, 4, 6)]
    assert await asyncio.to_thread(load, "log.csv", lines) == (4, 0, gone)
    assert await whose(pool) == [("g2", None), (None, "bert"), ("g1", "bert"), (None, "anna")]
    assert await asyncio.to_thread(load, "log.csv", lines) == (0, 4, gone)


@pytest.mark.usefixtures("pool")
def test_what_is_set_aside_repeats_nothing_of_what_a_line_said(load: Load) -> None:
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
        stored, known, said = load(name, content)
        assert (stored, known, len(said)) == (0, 0, 8 if name == "log.csv" else 4)
        assert SECRET not in Path(f"{name}.rejects.jsonl").read_text()
