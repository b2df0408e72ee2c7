"""`penchant load` stores files once, sets wrong lines aside one by one, and reports exactly what it did."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from redis.asyncio import Redis

from core import clock
from core.contract import Person
from db.cache import read_person, write_base
from db.postgres import Pool
from db.users import user_by_id
from tests.commands import PROGRAM, invoke
from tests.fixtures.items import items_by_id
from tests.running import until

HEADER = "type,occurredAt,userId,itemId,quantity,unitPrice,currency"
LINE = "PURCHASE,2026-01-05T12:00:00Z,u1,i1,2,2.50,EUR"

SHOP = """
timezone = "UTC"
cut = 2001-01-07T00:00:00Z
shift = "cut"
[events]
skip = { who = "" }
type = { column = "count", map = { "-.*" = "RETURN" }, otherwise = "PURCHASE" }
occurredAt = { column = "day", format = "%Y-%m-%d" }
userId = "who"
itemId = "sku"
quantity = { column = "count", absolute = true }
"""

Outcome = tuple[int, dict[str, Any], str]
Load = Callable[..., Outcome]


@pytest.fixture
def load(pool: Pool, database: str) -> Load:
    """Runs the command: its exit code, its JSON, its standard error."""

    def run(*words: str | Path) -> Outcome:
        result = invoke("load", *words, "--json")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        printed = json.loads(result.stdout) if result.stdout else {}
        return result.exit_code, {key: printed.get(key) for key in ("stored", "duplicate", "rejected")}, result.stderr

    return run


def counts(stored: int, duplicate: int = 0, rejected: int = 0) -> dict[str, int]:
    return {"stored": stored, "duplicate": duplicate, "rejected": rejected}


def csv_file(lines: Sequence[str], name: str = "log.csv", header: str = HEADER) -> Path:
    path = Path(name)
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def json_file(records: Sequence[object], name: str = "log.jsonl") -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def penchant(*words: str | Path, program: str = PROGRAM[-1]) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def rejects_of(path: Path) -> list[tuple[int, str | None]]:
    rejects = [json.loads(line) for line in Path(f"{path.name}.rejects.jsonl").read_text().splitlines()]
    assert all(reject["reason"] for reject in rejects)
    return [(reject["line"], reject["field"]) for reject in rejects]


def rows(url: str, query: str = "SELECT * FROM events ORDER BY id") -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def in_three_formats() -> list[Path]:
    """The same five events in three formats; the first two lines are equal, the last event is of a guest."""
    moment = datetime(2026, 1, 5, 12, tzinfo=UTC)
    table = pa.table(
        {
            "type": ["PURCHASE"] * 4 + ["VIEW"],
            "occurredAt": pa.array([moment, moment, *[moment - timedelta(days=400 * n) for n in range(3)]]),
            "userId": ["u1", "u1", "u2", "u3", None],
            "anonymousId": [None] * 4 + ["guest 🍓"],
            "itemId": ["i1"] * 5,
            "quantity": pa.array([1, 1, 2, 3, None], pa.int16()),
            "unitPrice": [2.5, 2.5, 0.1, 1000000.0, None],
        }
    )
    pq.write_table(table, "log.parquet")
    records = [{**row, "occurredAt": row["occurredAt"].isoformat()} for row in table.to_pylist()]
    Path("log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    cells = [["" if value is None else str(value) for value in record.values()] for record in records]
    Path("log.csv.gz").write_bytes(
        gzip.compress("\n".join([";".join(table.column_names), *map(";".join, cells)]).encode())
    )
    return [Path("log.parquet"), Path("log.jsonl"), Path("log.csv.gz")]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_file_is_stored_once_whatever_format_it_is_loaded_from_again(
    load: Load, postgres_url: str, place: int
) -> None:
    files = in_three_formats()
    assert load("events", files[place])[:2] == (0, counts(5))
    stored = rows(postgres_url)
    for file in files:
        assert load("events", file)[:2] == (0, counts(0, duplicate=5))
    assert rows(postgres_url) == stored
    assert rows(postgres_url, "SELECT count(DISTINCT id), count(received_at) FROM events") == [(5, 0)]
    assert rows(postgres_url, "SELECT user_id, quantity, unit_price::text FROM events WHERE user_id = 'u3'") == [
        ("u3", 3, "1000000.0000")
    ]


def test_the_same_events_from_another_source_are_other_events(load: Load, postgres_url: str) -> None:
    file = csv_file([LINE])
    load("events", file)
    assert load("events", file, "--source", "till")[:2] == (0, counts(1))
    assert {row[0] for row in rows(postgres_url, "SELECT source FROM events")} == {"load", "till"}


def test_months_since_1990_get_partitions(load: Load, postgres_url: str) -> None:
    file = csv_file([LINE.replace("2026-01-05", "1990-01-01"), LINE.replace("2026-01-05", "2001-12-31")])
    assert load("events", file)[:2] == (0, counts(2))
    found = rows(postgres_url, "SELECT tableoid::regclass::text FROM events ORDER BY occurred_at")
    assert found == [("events_1990_01",), ("events_2001_12",)]


def test_a_growing_log_only_adds_what_is_new(load: Load) -> None:
    load("events", csv_file([LINE, LINE, LINE.replace("u1", "u2")]))
    assert load("events", csv_file([LINE, LINE, LINE.replace("u1", "u2"), LINE], "longer.csv"))[1] == counts(1, 3)


def test_ids_of_the_sender_are_kept_and_another_body_with_the_same_id_is_a_conflict(
    load: Load, postgres_url: str
) -> None:
    header = f"id,{HEADER}"
    first = csv_file([f"a,{LINE}", f"b,{LINE}", f"a,{LINE}"], header=header)
    assert load("events", first)[:2] == (0, counts(2, duplicate=1))
    second = csv_file([f"a,{LINE}", f"b,{LINE.replace('i1', 'i2')}", f"c,{LINE}"], "second.csv", header)
    assert load("events", second)[:2] == (1, counts(1, duplicate=1, rejected=1))
    assert rejects_of(second) == [(3, "id")]
    assert rows(postgres_url, "SELECT id, item_id FROM events ORDER BY id") == [("a", "i1"), ("b", "i1"), ("c", "i1")]


def test_broken_lines_are_set_aside_alone_with_their_numbers(load: Load) -> None:
    good = LINE.replace("u1", '"u\n1"').replace('"u\n1"', '"u, 1"')
    lines = [
        LINE,  # 2
        "too,few",  # 3
        "",  # 4, blank
        LINE.replace("u1", '"never closed'),  # 5
        good,  # 6
        LINE.replace("u1", '"closed" too early'),  # 7
        LINE.replace("2.50", "a lot"),  # 8
        LINE.replace("i1", '"two\nlines"'),  # 9 and 10
        LINE.replace(",u1,", ",,"),  # 11
        LINE,  # 12
    ]
    file = csv_file(lines)
    assert load("events", file)[:2] == (1, counts(3, rejected=6))
    assert rejects_of(file) == [(3, None), (5, None), (7, None), (8, "unitPrice"), (9, "itemId"), (11, "userId")]


def test_bytes_that_are_not_text_reject_only_their_line(load: Load, postgres_url: str) -> None:
    file = Path("latin.csv")
    file.write_bytes(f"{HEADER}\n{LINE}\n{LINE}\n".replace("u1", "Zoë", 1).encode("latin-1"))
    assert load("events", file)[:2] == (1, counts(1, rejected=1))
    assert rejects_of(file) == [(2, None)]
    assert load("events", file, "--encoding", "latin-1")[:2] == (0, counts(1, duplicate=1))
    assert ("Zoë",) in rows(postgres_url, "SELECT user_id FROM events")
    assert not Path("latin.csv.rejects.jsonl").exists()


def test_broken_json_lines_are_set_aside_alone(load: Load) -> None:
    good = {"type": "VIEW", "occurredAt": "2026-01-05T12:00:00Z", "userId": "u", "itemId": "i"}
    lines = [json.dumps(good), '{"type": "VIEW", ', "[1]", "", json.dumps({**good, "colour": "red"}), json.dumps(good)]
    Path("log.jsonl").write_text("\n".join(lines))
    assert load("events", "log.jsonl")[:2] == (1, counts(2, rejected=3))
    assert rejects_of(Path("log.jsonl")) == [(2, None), (3, None), (5, "colour")]


def test_lists_and_objects_of_events_are_stored(load: Load, postgres_url: str) -> None:
    seen = {"type": "IMPRESSION", "occurredAt": "2026-01-05T12:00:00Z", "userId": "u", "itemIds": ['a"b\\', "c,d"]}
    Path("log.jsonl").write_text(json.dumps({**seen, "properties": {"place": 'top "left"', "n": [1, None]}}) + "\n")
    csv_file(["IMPRESSION,2026-01-05T12:00:01Z,u,x|y", 'IMPRESSION,2026-01-05T12:00:02Z,u,"[""x"",""a|b""]"'],
             header="type,occurredAt,userId,itemIds")  # fmt: skip
    assert load("events", "log.jsonl")[:2] == (0, counts(1))
    assert load("events", "log.csv")[:2] == (0, counts(2))
    found = rows(postgres_url, "SELECT item_ids, properties FROM events ORDER BY occurred_at")
    assert found == [
        (['a"b\\', "c,d"], {"place": 'top "left"', "n": [1, None]}),
        (["x", "y"], None),
        (["x", "a|b"], None),
    ]


def test_lists_of_parquet_stand_beside_lines_without_one(load: Load, postgres_url: str) -> None:
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    table = {"type": ["IMPRESSION", "VIEW"], "occurredAt": [moment] * 2, "userId": ["u"] * 2, "itemId": [None, "a"]}
    pq.write_table(pa.table({**table, "itemIds": [["a", "7.0"], None]}), "log.parquet")
    assert load("events", "log.parquet")[:2] == (0, counts(2))
    assert rows(postgres_url, "SELECT item_ids FROM events ORDER BY type::text") == [(["a", "7"],), (None,)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "it is empty"),
        ("a.csv", b"type,userId,itemId\n", "the column 'occurredAt' is missing"),
        ("a.csv", b"type,occurredAt,itemId\n", "the column 'userId' or 'anonymousId' is missing"),
        ("a.csv", b"type,occurredAt,user_id,itemId\n", "'user_id' is not known for events; did you mean 'userId'?"),
        ("a.csv", b"type,type,occurredAt,userId\n", "the column 'type' is there twice"),
        ("a.xlsx", b"PK\x03\x04 and so on", "Excel"),
        ("a.parquet", b"PAR1 and nothing else", "it is damaged"),
        ("a.parquet", b"type,occurredAt,userId\n", "named like Parquet"),
        ("a.bin", b"\x00\x01\x02\x03", "neither Parquet, CSV nor JSON lines"),
        ("a.csv.gz", gzip.compress(f"{HEADER}\n{LINE}\n".encode() * 9)[:-9], "its compression is damaged"),
    ],
)
def test_a_wrong_file_is_one_clear_error(load: Load, name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    code, _, error = load("events", name)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["utf-9", "hex"])
def test_an_encoding_that_is_none_is_a_clear_error(load: Load, encoding: str) -> None:
    code, _, error = load("events", csv_file([LINE]), "--encoding", encoding)
    assert (code, error) == (2, f"penchant: log.csv: there is no encoding '{encoding}'\n")


def test_a_missing_file_is_a_clear_error_and_a_header_alone_an_empty_log(load: Load) -> None:
    missing = "penchant: nowhere.csv: it cannot be read: No such file or directory\n"
    assert load("events", "nowhere.csv")[0::2] == (2, missing)
    assert load("events", csv_file([]))[:2] == (0, counts(0))


def test_times_without_offset_need_a_zone(load: Load, postgres_url: str) -> None:
    table = pa.table({"type": ["VIEW"], "occurredAt": [datetime(2026, 7, 1, 12)], "userId": ["u"], "itemId": ["i"]})  # noqa: DTZ001
    pq.write_table(table, "log.parquet")
    file = csv_file(["VIEW,2026-07-01 12:00:00,u,j"], header="type,occurredAt,userId,itemId")
    code, _, error = load("events", "log.parquet")
    assert (code, "'occurredAt' has no time zone" in error) == (2, True)
    assert load("events", file)[:2] == (1, counts(0, rejected=1))
    for log in (file, "log.parquet"):
        assert load("events", log, "--timezone", "Europe/Berlin")[:2] == (0, counts(1))
    assert rows(postgres_url, "SELECT DISTINCT occurred_at FROM events") == [(datetime(2026, 7, 1, 10, tzinfo=UTC),)]
    assert load("events", file, "--timezone", "Europe/Atlantis")[0] == 2


def test_floats_that_pandas_made_of_ids_are_ids_again(load: Load, postgres_url: str) -> None:
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    table = pa.table({"type": ["VIEW"] * 2, "occurredAt": [moment] * 2, "userId": [17850.0, 1.5], "itemId": [85048, 1]})
    pq.write_table(table, "log.parquet")
    assert load("events", "log.parquet")[:2] == (1, counts(1, rejected=1))
    assert rows(postgres_url, "SELECT user_id, item_id FROM events") == [("17850", "85048")]


def test_a_log_that_a_recipe_moves_to_now_is_stored_once_even_when_loaded_again_weeks_later(
    load: Load, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.toml").write_text(SHOP)
    file = csv_file(["2001-01-05,ann,tea,2", "2001-01-06,bob,cup,-1", "2001-01-06,,cup,1"], header="day,who,sku,count")
    assert load("events", file, "--recipe", "shop.toml")[:2] == (0, counts(2))
    found = rows(postgres_url, "SELECT type, user_id, quantity, occurred_at > now() - interval '9 days' FROM events")
    assert sorted(found) == [("PURCHASE", "ann", 2, True), ("RETURN", "bob", 1, True)]
    later = clock.now() + timedelta(days=30)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert load("events", file, "--recipe", "shop.toml")[:2] == (0, counts(0, duplicate=2))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE loads SET started_at = '2026-01-01'")
    assert load("events", file, "--recipe", "shop.toml")[1] == counts(2)
    assert rows(postgres_url, "SELECT started_at = '2026-01-01' FROM loads") == [(True,)]


def test_a_dry_run_checks_every_line_and_stores_nothing(load: Load, postgres_url: str) -> None:
    file = csv_file([LINE, LINE.replace("EUR", "EURO")])
    assert load("events", file, "--dry-run")[:2] == (1, counts(1, rejected=1))
    assert rejects_of(file) == [(3, "currency")]
    assert rows(postgres_url) == []


async def test_items_are_patches_with_a_flat_offer(load: Load, pool: Pool) -> None:
    header = "id,title,categories,price,currency,available,image,attributes.size,updatedAt"
    line = "tea,Green tea,Drinks > Tea > Green,2.50,EUR,no,https://shop.example/tea.png,100 g,2026-01-05T12:00:00Z"
    assert await in_thread(load, "items", csv_file([line, "cup,,a|b,,,,,,"], header=header)) == (0, counts(2), "")
    found = await items_by_id(pool, ["tea", "cup"])
    tea, cup = found["tea"], found["cup"]
    assert (tea.categories, tea.attributes, tea.image_url) == (
        ("Drinks", "Tea", "Green"), {"size": "100 g"}, "https://shop.example/tea.png",
    )  # fmt: skip
    (offer,) = tea.offers
    assert (str(offer.price), offer.currency, offer.available, offer.market) == ("2.50", "EUR", False, None)
    assert (cup.categories, cup.offers) == (("a", "b"), ())


async def test_an_older_patch_of_a_file_is_counted(load: Load, pool: Pool) -> None:
    newer = {"id": "tea", "updatedAt": "2026-01-05T12:00:00Z", "title": "Tea", "brand": "Leaf"}
    older = {"id": "tea", "updatedAt": "2026-01-04T12:00:00Z", "title": "Old"}
    items = json_file([newer, older, {"id": ""}, {**newer, "brand": None}])
    assert (await in_thread(load, "items", items))[:2] == (1, counts(2, duplicate=1, rejected=1))
    tea = (await items_by_id(pool, ["tea"]))["tea"]
    assert (tea.title, tea.brand) == ("Tea", None)
    assert rejects_of(items) == [(3, "id")]


async def test_users_are_loaded_with_their_traits(load: Load, pool: Pool) -> None:
    csv_file(["u,Oslo,", 'v,,"{""n"": 1}"', "w,,[1]"], header="id,traits.city,traits")
    assert (await in_thread(load, "users", "log.csv"))[:2] == (1, counts(2, rejected=1))
    u, v = await user_by_id(pool, "u"), await user_by_id(pool, "v")
    assert u and v and (u.traits, v.traits) == ({"city": "Oslo"}, {"n": 1})


async def test_states_of_people_are_rebuilt_after_a_load(
    load: Load, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENCHANT_REDIS_URL", redis_url)
    await write_base(redis, Person("user", "u1"), b"state")
    assert (await in_thread(load, "events", csv_file([LINE])))[0] == 0
    assert (await read_person(redis, Person("user", "u1")))[0] is None


def test_an_unreachable_store_has_its_own_exit_code(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, _, error = load("events", csv_file([LINE]))
    assert (code, "Postgres did not answer" in error) == (3, True)


def test_a_killed_load_resumes_where_it_stopped_and_counts_every_line_once(load: Load, postgres_url: str) -> None:
    lines = [
        f"PURCHASE,2026-01-05T12:00:00Z,u{n % 977},i{n % 99991},1,1,{'EURO' if n % 1000 == 7 else 'EUR'}"
        for n in range(100_000)
    ]
    file = csv_file(lines)
    first = penchant("load", "events", file)

    def has_begun() -> bool:
        assert first.poll() is None
        return bool(rows(postgres_url, "SELECT FROM loads WHERE lines > 0"))

    until(has_begun, "some lines are stored", 60)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = rows(postgres_url, "SELECT lines FROM loads")[0][0]
    assert 0 < before < 100_000
    assert load("events", file)[:2] == (1, counts(99_900, rejected=100))
    assert [line for line, _ in rejects_of(file)] == list(range(9, 100_001, 1000))
    assert rows(postgres_url, "SELECT count(*) FROM events") == [(99_900,)]
    assert load("events", file)[:2] == (1, counts(0, duplicate=99_900, rejected=100))


def test_memory_does_not_grow_with_the_file(load: Load) -> None:
    short, long = (
        csv_file([LINE.replace("u1", f"u{n}") for n in range(size)], f"{size}.csv") for size in (50_000, 150_000)
    )
    program = (
        "import resource, sys; from cli.main import app\n"
        "try: app()\nfinally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )

    def megabytes(file: Path) -> int:
        with penchant("load", "events", file, "--dry-run", program=program) as process:
            assert process.stdout
            return int(process.stdout.read().split()[-1])

    assert megabytes(long) < megabytes(short) + 30


async def in_thread(load: Load, *words: str | Path) -> Outcome:
    """Run the command in a thread, because it has an event loop of its own."""
    return await asyncio.to_thread(load, *words)
