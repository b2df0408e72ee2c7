"""`penchant load undo` takes back what only one load brought: from Postgres, people's states and the lake."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from typer.testing import Result

from cli.loading.shapes import ByName
from core.contract import Person, read_event
from db.cache import add_recent, read_person, write_base
from db.events import insert_events
from db.lake.days import read_contents
from db.lake.export import export_events
from db.lake.location import Lake
from db.lake.owner import sole_writer
from db.lake.retention import drop_exported_months
from db.loads import deleting, records
from db.postgres import Pool
from engine.maintenance import undoing_loads
from tests.commands import PROGRAM, invoke

HEADER = "id,type,occurredAt,userId,itemId"
A2 = {"id": "a2", "itemId": "i2", "occurredAt": "2026-01-03T12:00:00Z"}
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Load = Callable[..., dict[str, Any]]


@pytest.fixture
def load(pool: Pool, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads lines of events (by their ids) or a file, and returns the printed JSON."""
    monkeypatch.setenv("PENCHANT_LOADS_URL", str(tmp_path / "loads"))
    monkeypatch.delenv("PENCHANT_LAKE_URL", raising=False)
    monkeypatch.setattr(records, "PAUSE", 0.0)

    def run(name: str, ids: Sequence[str], *words: str, kind: str = "events") -> dict[str, Any]:
        write(name, HEADER, *map(line, ids))
        result = invoke("load", kind, name, "--json", *words)
        assert result.exit_code in (0, 1), result.output
        return dict(json.loads(result.stdout))

    return run


def write(name: str, *lines: str) -> None:
    """A file of these lines."""
    Path(name).write_text("".join(f"{line}\n" for line in lines))


def line(id: str) -> str:
    """A purchase; its day of January is the number in its id."""
    return f"{id},PURCHASE,2026-01-{int(id[1:]) % 28 + 1:02}T12:00:00Z,u-{id},i1"


def ids(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def empty(folder: Path) -> None:
    """Remove its files."""
    for file in folder.iterdir():
        file.unlink()


def started(*words: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([*PROGRAM, *words], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


async def run(command: Callable[..., Any], *words: Any, **named: Any) -> Any:
    """In a thread: a command has an event loop of its own."""
    return await asyncio.to_thread(command, *words, **named)


async def undo(id: str, *words: str) -> Result:
    result: Result = await run(invoke, "load", "undo", id, *words)
    return result


async def stored(pool: Pool) -> set[str]:
    return {row["id"] for row in await pool.fetch("SELECT id FROM events")}


async def loads(*words: str) -> list[dict[str, Any]]:
    return list(json.loads((await run(invoke, "load", "list", "--json", *words)).stdout))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_an_event_that_two_loads_name_stays_until_both_are_taken_back(
    load: Load, pool: Pool, order: tuple[int, int]
) -> None:
    first = await run(load, "first.csv", ids("a", 30))
    second = await run(load, "second.csv", [*ids("a", 20), *ids("b", 10)])
    assert (second["stored"], second["duplicate"]) == (10, 20)
    only = [set(ids("a", 30)[20:]), set(ids("b", 10))]
    whole = {*ids("a", 30), *ids("b", 10)}
    each = [first["id"], second["id"]]
    done = json.loads((await undo(each[order[0]], "--json")).stdout)
    assert (done["state"], done["takenBack"]) == ("UNDONE", 10)
    assert await stored(pool) == whole - only[order[0]]
    assert (await undo(each[order[1]])).stdout.startswith("30 events of ")
    assert await stored(pool) == set()


async def test_an_undo_that_is_repeated_changes_nothing_and_the_file_can_be_loaded_again(
    load: Load, pool: Pool, tmp_path: Path
) -> None:
    id = (await run(load, "a.csv", ids("a", 5)))["id"]
    assert (await undo(id)).exit_code == 0
    assert [path for path in (tmp_path / "loads").rglob("*") if path.is_file()] == []
    await run(load, "b.csv", ids("a", 3))
    again = await undo(id)
    assert (again.exit_code, again.stdout) == (0, "5 events of a.csv are taken back.\n")
    assert await stored(pool) == set(ids("a", 3))
    anew = await run(load, "a.csv", ids("a", 5))
    assert (anew["id"], anew["stored"], anew["duplicate"]) == (id, 2, 3)
    assert (await undo(id)).stdout == "2 events of a.csv are taken back.\n"
    assert [(each["file"], each["state"], each["takenBack"]) for each in await loads()] == [
        ("a.csv", "UNDONE", 2), ("b.csv", "FINISHED", 0),
    ]  # fmt: skip


async def test_what_a_load_did_not_bring_stays(load: Load, pool: Pool) -> None:
    """An event that a gateway received, also under the file's source, and one that the file has with another body."""
    raw = {"id": "a1", "type": "PURCHASE", "occurredAt": "2026-01-02T12:00:00Z", "userId": "u-a1", "itemId": "i1"}
    await insert_events(pool, [read_event(raw, source="load", received_at=NOW)])
    await insert_events(pool, [read_event(raw, source="load", received_at=NOW, namespace="web\x1f")])
    await insert_events(pool, [read_event({**raw, **A2}, source="load", received_at=None)])
    done = await run(load, "a.csv", ["a1", "a2", "a3"])
    assert (done["stored"], done["duplicate"], done["rejected"]) == (1, 1, 1)
    assert (await undo(done["id"])).exit_code == 0
    assert sorted([row["id"] for row in await pool.fetch("SELECT id FROM events")]) == ["a1", "a1", "a2"]


async def test_a_conflict_is_not_taken_back(load: Load, pool: Pool) -> None:
    await run(load, "a.csv", ["a1"])
    write("b.csv", HEADER, line("a1").replace("i1", "i2"), line("b1"))
    done = json.loads((await run(invoke, "load", "events", "b.csv", "--json")).stdout)
    assert (done["stored"], done["rejected"]) == (1, 1)
    await undo(done["id"])
    assert await stored(pool) == {"a1"}


async def test_an_undo_that_was_stopped_goes_on_and_until_then_the_file_is_not_loaded(
    load: Load, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "IN_A_TRANSACTION", 7)
    id = (await run(load, "a.csv", ids("a", 20)))["id"]
    counted = records.count_taken_back

    calls: list[int] = []

    async def killed(connection: Any, id: str, events: int) -> None:
        calls.append(events)
        if len(calls) > 1:
            raise KeyboardInterrupt
        await counted(connection, id, events)

    with monkeypatch.context() as patched:
        patched.setattr("db.loads.deleting.count_taken_back", killed)
        assert (await undo(id)).exit_code != 0
    assert len(await stored(pool)) == 13
    assert [(each["state"], each["takenBack"]) for each in await loads()] == [("UNDOING", 7)]
    refused = await run(invoke, "load", "events", "a.csv")
    assert (refused.exit_code, f"`penchant load undo {id}` ends it" in refused.stderr) == (2, True)
    assert (await undo(id)).stdout == "20 events of a.csv are taken back.\n"
    assert await stored(pool) == set()


async def test_an_undo_that_was_stopped_keeps_what_the_other_load_needed_only_as_long(
    load: Load, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [(await run(load, f"{name}.csv", [*ids("a", 5), f"{name}9"]))["id"] for name in "bc"]

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(undoing_loads, "finish_undo", killed)
        assert (await undo(first)).exit_code != 0
    assert await stored(pool) == {*ids("a", 5), "c9"}
    await undo(second)
    assert await stored(pool) == set(ids("a", 5))
    await undo(first)
    assert await stored(pool) == set()


async def test_nothing_is_taken_back_while_a_file_is_loaded(load: Load, pool: Pool, postgres_url: str) -> None:
    id = (await run(load, "a.csv", ["a1"]))["id"]
    for running, words in ((id, "this load is running"), ("another", "a file is being loaded")):
        loader = await asyncpg.connect(postgres_url)
        try:
            await records.begin_load(loader, running, "x.csv", "events", None)
            assert {each["state"] for each in await loads() if each["id"] == running} == {"RUNNING"}
            refused = await undo(id)
            assert (refused.exit_code, words in refused.stderr) == (1, True)
        finally:
            await loader.close()
    async with records.claimed_load(pool, id):
        refused = await run(invoke, "load", "events", "a.csv")
        assert (refused.exit_code, "another process is loading it" in refused.stderr) == (2, True)
        write("b.csv", HEADER, line("b1"))
        refused = await run(invoke, "load", "events", "b.csv")
        assert (refused.exit_code, "a load is being taken back" in refused.stderr) == (2, True)
    assert await stored(pool) == {"a1"}


async def test_a_load_that_was_killed_is_taken_back_whole(
    load: Load, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.csv", HEADER, *map(line, ids("a", 100_000)))
    killed = started("load", "events", "a.csv")
    async with asyncio.timeout(60):
        while not await pool.fetchval("SELECT sum(lines) FROM loads"):
            assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (record,) = await loads()
    assert record["state"] in ("STOPPED", "RUNNING") and len(await stored(pool)) > 0
    monkeypatch.setattr(records, "PAUSE", 0.2)  # Postgres notices the kill when the last statement ends
    assert (await undo(record["id"])).exit_code == 0
    assert await stored(pool) == set()


async def test_taken_back_events_leave_the_lake_too(load: Load, pool: Pool, tmp_path: Path, monkeypatch: Any) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    monkeypatch.setenv("PENCHANT_LAKE_URL", lake.url)
    raw = {"id": "api", "type": "VIEW", "occurredAt": "2026-01-01T12:00:00Z", "userId": "u", "itemId": "i1"}
    await insert_events(pool, [read_event(raw, source="load", received_at=NOW)])
    await run(load, "a.csv", ids("a", 40))
    id = (await run(load, "b.csv", [*ids("a", 5), *ids("b", 40)]))["id"]
    async with sole_writer(pool) as connection:
        await export_events(connection, lake, NOW, lambda *_: None)
        await drop_exported_months(connection, lake, 60, NOW)
    assert await stored(pool) == set()
    await run(load, "c.csv", ["c1"])  # a new layer of a day
    assert (await undo(id)).exit_code == 0
    assert ids_in(lake) == {"api", *ids("a", 40)}
    async with sole_writer(pool) as connection:
        done = await export_events(connection, lake, NOW, lambda *_: None)
    assert (done.fewer, ids_in(lake)) == ([], {"api", "c1", *ids("a", 40)})


async def test_days_that_postgres_still_has_are_equal_to_it_after_the_next_export(
    load: Load, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    monkeypatch.setenv("PENCHANT_LAKE_URL", lake.url)
    await run(load, "a.csv", ["a1", "a2"])
    id = (await run(load, "b.csv", ["a1", "b1", "b9"]))["id"]
    async with sole_writer(pool) as connection:
        await export_events(connection, lake, NOW, lambda *_: None)
    assert (await undo(id)).exit_code == 0
    assert ids_in(lake) == await stored(pool) == {"a1", "a2"}
    async with sole_writer(pool) as connection:
        done = await export_events(connection, lake, NOW, lambda *_: None)
        assert await drop_exported_months(connection, lake, 60, NOW) != []
    assert (done.days, done.unchanged, done.fewer) == (1, 1, [])


def ids_in(lake: Lake) -> set[str]:
    import pyarrow.parquet as pq

    parts = [f"day={day.day}/{part.name}" for day in read_contents(lake).days.values() for part in day.parts]
    found = [id for part in parts for id in pq.read_table(lake.path(part)).column("id").to_pylist()]
    assert len(found) == len(set(found))
    return set(found)


async def test_states_are_rebuilt_and_recent_events_of_gateways_stay(
    load: Load, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENCHANT_REDIS_URL", redis_url)
    id = (await run(load, "a.csv", ["a1"]))["id"]
    person = Person("user", "u-a1")
    raw = {"type": "VIEW", "userId": "u-a1", "itemId": "i1"}
    await add_recent(redis, [read_event(raw, source="shop", received_at=NOW)])
    await write_base(redis, person, b"state")
    assert (await undo(id)).exit_code == 0
    base, recent = await read_person(redis, person)
    assert (base, len(recent)) == (None, 1)


async def test_a_load_without_a_manifest_is_refused_until_its_file_is_loaded_again(
    load: Load, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.delenv("PENCHANT_LOADS_URL")
        old = await run(load, "old.csv", ids("a", 5))
        assert old["manifest"] is None
    new = await run(load, "new.csv", ids("a", 8))
    for id in (old["id"], new["id"]):
        refused = await undo(id)
        assert (refused.exit_code, "old.csv has no manifest: load its file again" in refused.stderr) == (1, True)
    assert len(await stored(pool)) == 8
    assert (await run(load, "old.csv", ids("a", 5)))["duplicate"] == 5
    await undo(new["id"])
    assert await stored(pool) == set(ids("a", 5))


async def test_a_load_that_shares_nothing_with_an_older_one_without_a_manifest_is_taken_back(
    load: Load, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.delenv("PENCHANT_LOADS_URL")
        await run(load, "old.csv", ids("a", 5))
    assert (await undo((await run(load, "new.csv", ids("b", 5)))["id"])).exit_code == 0
    assert await stored(pool) == set(ids("a", 5))


async def test_a_lost_manifest_of_another_load_is_named_and_nothing_is_taken_back(
    load: Load, pool: Pool, tmp_path: Path
) -> None:
    first = await run(load, "first.csv", ids("a", 5))
    second = await run(load, "second.csv", ids("a", 6))
    empty(Path(first["manifest"]))
    refused = await undo(second["id"])
    assert (refused.exit_code, f"of load {first['id']} of first.csv is not at" in refused.stderr) == (1, True)
    assert len(await stored(pool)) == 6


async def test_items_that_a_load_touched_are_listed_and_not_restored(load: Load, pool: Pool) -> None:
    write("items.csv", "id,title", "tea,Tea", "cup,Cup")
    done = json.loads((await run(invoke, "load", "items", "items.csv", "--json")).stdout)
    listed = await undo(done["id"])
    assert (listed.exit_code, listed.stdout) == (0, "tea\ncup\n")
    assert json.loads((await undo(done["id"], "--json")).stdout)["touched"] == ["tea", "cup"]
    assert await pool.fetchval("SELECT count(*) FROM items") == 2
    assert [(each["kind"], each["state"], each["stored"]) for each in await loads()] == [("items", "FINISHED", 2)]


async def test_what_a_complete_file_left_out_is_listed(load: Load) -> None:
    write("all.csv", "id", *ids("i", 10))
    await run(invoke, "load", "items", "all.csv")
    write("fewer.csv", "id", *ids("i", 8))
    words = ("load", "items", "fewer.csv", "--complete", "--json")
    done = json.loads((await run(invoke, *words)).stdout)
    again = json.loads((await run(invoke, *words)).stdout)
    assert again["id"] == done["id"]
    listed = await undo(done["id"])
    assert listed.stdout.split() == [*ids("i", 8), "i8", "i9"]
    assert "It left out these, which became unavailable:" in listed.stderr
    document = json.loads((await undo(done["id"], "--json")).stdout)
    assert (document["touched"], document["leftOut"], document["moreLeftOut"]) == (ids("i", 8), ["i8", "i9"], False)


async def test_an_unknown_load_is_refused(load: Load) -> None:
    refused = await undo("nothing")
    assert (refused.exit_code, "there is no load nothing" in refused.stderr) == (1, True)


async def test_a_large_load_is_taken_back_in_batches(load: Load, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "AT_ONCE", 10)
    monkeypatch.setattr("cli.loading.files.ByName", partial(ByName, size=5))
    id = (await run(load, "a.csv", ids("a", 60)))["id"]
    await run(load, "b.csv", ids("a", 60)[17:43])
    await undo(id)
    assert await stored(pool) == set(ids("a", 60)[17:43])


@pytest.mark.parametrize("place", ["rejects", "manifest"])
def test_a_file_that_cannot_be_written_is_one_sentence_and_the_load_goes_on_later(load: Load, place: str) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses the write in the middle."""
    wrong = place == "rejects"
    lines = [line(f"a{n}").replace("i1", "" if wrong else f"i{n}") for n in range(60_000)]
    write("a.csv", HEADER, *lines)
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); {PROGRAM[-1]}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program, "load", "events", "a.csv"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [each for each in ended.stderr.splitlines() if " lines, " not in each]
    assert (ended.returncode, len(said), "File too large" in said[-1]) == (3, 1, True), ended.stderr
    assert said[0].startswith("penchant: ")
    result = json.loads(invoke("load", "events", "a.csv", "--json").stdout)
    assert (result["stored"] + result["duplicate"], result["rejected"]) == ((0, 60_000) if wrong else (60_000, 0))


def test_a_folder_for_rejects_that_is_not_there_is_one_sentence(load: Load) -> None:
    write("a.csv", HEADER, line("a1").replace("PURCHASE", "BUY"))
    ended = invoke("load", "events", "a.csv", "--rejects", "nowhere/rejects.jsonl")
    assert (ended.exit_code, len(ended.stderr.splitlines())) == (3, 1)
    assert "the rejects cannot be written to nowhere/rejects.jsonl" in ended.stderr
