"""`penchant events dead`: lists, shows, replays and discards on real stores, and ends as it went."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from bus.envelope import Kind
from bus.rabbitmq import topology
from cli.main import app
from core.contract import Event, read_event
from core.settings import Stores
from db.dead_events import DeadReason, bury
from db.events import insert_events
from db.postgres import connect_pool
from engine.dead_events.records import CONFLICT, of_event, of_message
from tests.conftest import EMPTY_EVERY_TABLE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
Do = Callable[[Callable[[asyncpg.Pool], Coroutine[Any, Any, Any]]], Any]


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "confidential", "itemId": "i1", "occurredAt": NOW, **fields}
    return read_event(raw, source="shop", received_at=NOW)


@pytest.fixture
def do(postgres_url: str) -> Do:
    """Do something with the database: the command has an event loop of its own."""

    async def with_pool(what: Callable[[asyncpg.Pool], Coroutine[Any, Any, Any]]) -> Any:
        async with await connect_pool(postgres_url, size=1) as pool:
            return await what(pool)

    return lambda what: asyncio.run(with_pool(what))


@pytest.fixture
def ids(stores: Stores, do: Do, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The numbers of a crashed event, of one in conflict with a stored one, and of a message nobody can read."""
    monkeypatch.chdir(tmp_path)
    topology.declare(stores.broker_url.get_secret_value())
    for name in ("postgres_url", "redis_url", "broker_url"):
        monkeypatch.setenv(f"PENCHANT_{name.upper()}", getattr(stores, name).get_secret_value())
    do(lambda pool: pool.execute(EMPTY_EVERY_TABLE))
    do(lambda pool: insert_events(pool, [make_event(id="e2")]))
    for burial in (
        of_event(make_event(id="e1"), DeadReason.CRASHED, "it crashed", 5),
        of_event(make_event(id="e2", itemId="other"), DeadReason.CONFLICT, CONFLICT),
        of_message(b"\xff half", Kind.STORE_EVENTS, DeadReason.UNREADABLE, "unreadable"),
    ):
        do(lambda pool, burial=burial: bury(pool, [burial]))  # type: ignore[misc]
    return [str(row["id"]) for row in do(lambda pool: pool.fetch("SELECT id FROM dead_events ORDER BY id"))]


class Ended(NamedTuple):
    """A command that has run."""

    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["events", "dead", *arguments])


def decide(*arguments: str) -> Ended:
    """In a process of its own: a command that decides sets up logs."""
    program = [sys.executable, "-c", "from cli.main import app; app()", "events", "dead", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False, timeout=60)
    return Ended(done.returncode, done.stdout, done.stderr)


def listed(*arguments: str) -> list[str]:
    return [str(each["id"]) for each in json.loads(run("list", "--json", *arguments).stdout)]


def test_they_are_listed_without_anybodys_data_and_shown_with_it(ids: list[str]) -> None:
    assert listed() == ids[::-1]
    assert listed("--reason", "crashed") == ids[:1]
    assert listed("--first", "1", "--before", ids[2]) == ids[1:2]
    lines = run("list").stdout.splitlines()
    assert lines[-1].startswith(f"{ids[0]}  ") and lines[-1].endswith("CRASHED  VIEW  it crashed")
    assert "confidential" not in "".join(lines) + run("list", "--json").stdout
    shown = json.loads(run("show", ids[0], "--json").stdout)
    assert Event.model_validate_json(shown["body"]) == make_event(id="e1")
    assert (shown["user_id"], shown["attempts"]) == ("confidential", 5)
    assert "body: \\xff half" in run("show", ids[2]).stdout
    missing = run("show", "4711")
    assert (missing.exit_code, missing.stderr) == (1, "penchant: There is no dead event 4711.\n")


def test_what_is_replayed_leaves_the_list_and_what_cannot_be_is_said(ids: list[str]) -> None:
    done = decide("replay", ids[0], ids[1])
    assert (done.exit_code, done.stdout) == (1, "1 replayed, 1 refused.\n")
    assert f"{ids[1]}: Another event is stored" in done.stderr
    assert listed() == [ids[2], ids[1]]
    assert listed("--state", "replayed") == ids[:1]
    assert decide("replay", ids[0]).exit_code == 0, "a second replay is harmless"


def test_all_of_one_reason_are_decided_about_at_once(ids: list[str], do: Do) -> None:
    told = json.loads(decide("replay", "--all", "--reason", "UNREADABLE", "--json").stdout)
    assert [(result["id"], result["outcome"]) for result in told] == [(ids[2], "ACCEPTED")]
    done = decide("discard", "--all", "--why", "a test order")
    assert (done.exit_code, done.stdout) == (0, "2 discarded, 0 refused.\n")
    assert listed() == []
    (one, two) = json.loads(run("list", "--state", "DISCARDED", "--json").stdout)
    assert one["decision"] == two["decision"] == "a test order"
    assert one["decided_by"].startswith("penchant events")
    assert json.loads(run("show", ids[0], "--json").stdout)["body"] is None


def test_what_is_not_understood_decides_nothing(ids: list[str]) -> None:
    for wrong in (
        ["replay"],
        ["replay", ids[0], "--all"],
        ["replay", ids[0], "--reason", "CRASHED"],
        ["discard", "--all"],
        ["list", "--reason", "NONE"],
        ["list", "--before", "9" * 20],
        ["list", "--before", "-" + "9" * 20],
        ["show", "9" * 23],
    ):
        assert run(*wrong).exit_code == 2, wrong
    assert decide("discard", ids[0], "--why", " ").exit_code == 1
    assert listed() == ids[::-1]


def test_bytes_that_are_no_text_are_nobodys_number(ids: list[str]) -> None:
    done = decide("replay", "\udcff", "--json")
    assert done.exit_code == 1
    assert [(result["id"], result["code"]) for result in json.loads(done.stdout)] == [("\\udcff", "NOT_FOUND")]
    assert run("show", str(2**63 - 1)).exit_code == 1
    assert listed("--before", str(2**63 - 1)) == ids[::-1]


def test_while_a_store_is_away_it_is_said_and_nothing_is_lost(
    ids: list[str], monkeypatch: pytest.MonkeyPatch, do: Do
) -> None:
    monkeypatch.setenv("PENCHANT_BROKER_URL", "amqp://me:hush-hush@127.0.0.1:1/x")
    away = decide("replay", ids[0])
    assert away.exit_code == 3 and "hush-hush" not in away.stdout + away.stderr
    assert listed() == ids[::-1]
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", "postgresql://me:hush-hush@127.0.0.1:1/x")
    assert run("list").exit_code == 3
