"""`penchant events dead`: lists, shows, replays and discards on real stores; the exit code says how it went."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from bus.envelope import Kind
from bus.rabbitmq import topology
from core.contract import Event, read_event
from core.settings import Stores
from db.dead_events import DeadReason, insert_dead_events
from db.events import insert_events
from engine.dead_events.records import CONFLICT, of_event, of_message
from tests.cli.conftest import OnDatabase
from tests.commands import invoke, run_penchant
from tests.conftest import EMPTY_EVERY_TABLE

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "confidential", "itemId": "i1", "occurredAt": NOW, **fields}
    return read_event(raw, source="shop", received_at=NOW)


@pytest.fixture
def ids(stores: Stores, on_database: OnDatabase, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """The ids of an event whose storing crashed, of one that conflicts, and of a message that cannot be read."""
    topology.declare(stores.broker_url.get_secret_value())
    for name in ("postgres_url", "redis_url", "broker_url"):
        monkeypatch.setenv(f"PENCHANT_{name.upper()}", getattr(stores, name).get_secret_value())
    on_database(lambda pool: pool.execute(EMPTY_EVERY_TABLE))
    on_database(lambda pool: insert_events(pool, [make_event(id="e2")]))
    for dead in (
        of_event(make_event(id="e1"), DeadReason.CRASHED, "it crashed", 5),
        of_event(make_event(id="e2", itemId="other"), DeadReason.CONFLICT, CONFLICT),
        of_message(b"\xff half", Kind.STORE_EVENTS, DeadReason.UNREADABLE, "unreadable"),
    ):
        on_database(lambda pool, dead=dead: insert_dead_events(pool, [dead]))  # type: ignore[misc]
    return [str(row["id"]) for row in on_database(lambda pool: pool.fetch("SELECT id FROM dead_events ORDER BY id"))]


def run(*arguments: str) -> Result:
    return invoke("events", "dead", *arguments)


def decide(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: a command that decides sets up logs."""
    return run_penchant("events", "dead", *arguments)


def listed(*arguments: str) -> list[str]:
    return [str(each["id"]) for each in json.loads(run("list", "--json", *arguments).stdout)]


def test_dead_events_are_listed_without_personal_data_and_shown_with_it(ids: list[str]) -> None:
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


def test_a_replayed_event_leaves_the_list_and_a_refused_one_is_named(ids: list[str]) -> None:
    done = decide("replay", ids[0], ids[1])
    assert (done.returncode, done.stdout) == (1, "1 replayed, 1 refused.\n")
    assert f"{ids[1]}: Another event is stored" in done.stderr
    assert listed() == [ids[2], ids[1]]
    assert listed("--state", "replayed") == ids[:1]
    assert decide("replay", ids[0]).returncode == 0, "a second replay is harmless"


def test_all_events_with_one_reason_are_decided_at_once(ids: list[str], on_database: OnDatabase) -> None:
    results = json.loads(decide("replay", "--all", "--reason", "UNREADABLE", "--json").stdout)
    assert [(result["id"], result["outcome"]) for result in results] == [(ids[2], "ACCEPTED")]
    done = decide("discard", "--all", "--why", "a test order")
    assert (done.returncode, done.stdout) == (0, "2 discarded, 0 refused.\n")
    assert listed() == []
    (one, two) = json.loads(run("list", "--state", "DISCARDED", "--json").stdout)
    assert one["decision"] == two["decision"] == "a test order"
    assert one["decided_by"].startswith("penchant events")
    assert json.loads(run("show", ids[0], "--json").stdout)["body"] is None


def test_a_wrong_command_decides_nothing(ids: list[str]) -> None:
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
    assert decide("discard", ids[0], "--why", " ").returncode == 1
    assert listed() == ids[::-1]


def test_bytes_that_are_not_text_are_an_unknown_id(ids: list[str]) -> None:
    done = decide("replay", "\udcff", "--json")
    assert done.returncode == 1
    assert [(result["id"], result["code"]) for result in json.loads(done.stdout)] == [("\\udcff", "NOT_FOUND")]
    assert run("show", str(2**63 - 1)).exit_code == 1
    assert listed("--before", str(2**63 - 1)) == ids[::-1]


def test_an_unreachable_store_is_reported_and_no_dead_event_is_lost(
    ids: list[str], monkeypatch: pytest.MonkeyPatch, on_database: OnDatabase
) -> None:
    monkeypatch.setenv("PENCHANT_BROKER_URL", "amqp://me:hush-hush@127.0.0.1:1/x")
    away = decide("replay", ids[0])
    assert away.returncode == 3 and "hush-hush" not in away.stdout + away.stderr
    assert listed() == ids[::-1]
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", "postgresql://me:hush-hush@127.0.0.1:1/x")
    assert run("list").exit_code == 3
