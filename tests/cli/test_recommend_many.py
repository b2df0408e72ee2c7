"""`penchant recommend --all` and `--users`: the gateway's lists in a file that appears when it is complete."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from api.gateway import Gateway
from core import clock
from core.contract import read_event
from core.settings import Lists, Stores
from core.uploads import Offer
from db.events import insert_events
from db.items import upsert_items
from db.lake.list_files import ListFile
from db.merged_users import merge_into
from db.users import stream_user_ids, upsert_users
from engine.many_lists.list_jobs import write_waiting_lists
from tests.commands import run_penchant
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(12)]
LIST = """query ($id: ID!) { user(id: $id) { recommendations(first: 4, preview: true) { modelVersion degraded
  edges { node { id } reason { code } } } } }"""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Five users: one only described, one with an old id; a guest; and a model."""
    now = clock.now()
    offers = [Offer(None, None, None, None, available=True)]
    items = [{"id": id, "updated_at": now, "categories": [f"c{at % 2}"], "offers": offers} for at, id in enumerate(IDS)]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    who = [{"userId": "u1"}, {"userId": "u2"}, {"userId": "u3"}, {"userId": "old"}, {"anonymousId": "g1"}]
    raws = [
        {"type": "PURCHASE", "itemId": IDS[at], "occurredAt": now - timedelta(days=at + 2), "id": str(at), **person}
        for at, person in enumerate(who)
    ]
    await insert_events(gateway.pool, [read_event(raw, source="shop", received_at=now) for raw in raws])
    await upsert_users(gateway.pool, [{"id": "described", "updated_at": now, "traits": {}}])
    await merge_into(gateway.pool, "old", "u4", "shop")
    await gateway.pool.execute("UPDATE events SET user_id = 'u4' WHERE user_id = 'old'")
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


@pytest.fixture
def penchant(stores: Stores, tmp_path: Path) -> Command:
    """Runs `penchant recommend` on the stores of the test."""
    names = ("postgres_url", "redis_url", "broker_url")
    addresses = {f"PENCHANT_{name.upper()}": getattr(stores, name).get_secret_value() for name in names}
    addresses["PENCHANT_BUNDLES"] = str(tmp_path / "bundles")

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return run_penchant("recommend", *words, environment={**os.environ, **addresses})

    return run


async def test_all_users_have_a_row_with_the_list_of_the_gateway(
    shop: Gateway, penchant: Command, ask: Ask, tmp_path: Path
) -> None:
    lines, table = tmp_path / "out" / "lists.jsonl", tmp_path / "out" / "lists.parquet"
    done = await asyncio.to_thread(penchant, "--all", "--to", f"file://{lines}", "--first", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"lists": 5, "model": shop.models.current.id, "degraded": 0, "rejected": 0}  # type: ignore[union-attr]
    assert (await asyncio.to_thread(penchant, "--all", "--to", table, "--first", "4")).returncode == 0
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["userId"] for row in written] == ["described", "u1", "u2", "u3", "u4"]
    for row in written:
        same = (await ask(LIST, {"id": row["userId"]})).data["user"]["recommendations"]
        assert [(item["id"], item["reason"]) for item in row["items"]] == [
            (edge["node"]["id"], edge["reason"]["code"]) for edge in same["edges"]
        ]
        assert (row["modelVersion"], row["degraded"]) == (same["modelVersion"], same["degraded"])
        assert row["asOf"] and row["placement"] == "home"
    rows = pq.read_table(table).to_pylist()
    assert [(row["userId"], [item["id"] for item in row["items"]]) for row in rows] == [
        (row["userId"], [item["id"] for item in row["items"]]) for row in written
    ]
    assert sorted(path.name for path in lines.parent.iterdir()) == ["lists.jsonl", "lists.parquet"]


async def test_a_trainer_is_asked_for_the_file(
    shop: Gateway, penchant: Command, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--all", "--queue", "--first", "4", "--filter", '{"categories": ["c1"]}')
    refused = await asyncio.to_thread(penchant, *words)
    assert (refused.returncode, refused.stderr) == (
        2,
        "penchant: PENCHANT_LISTS_URL names no place for files of lists.\n",
    )
    monkeypatch.setenv("PENCHANT_LISTS_URL", str(tmp_path / "out"))
    done = await asyncio.to_thread(penchant, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "QUEUED"
    file = await write_waiting_lists(stores.model_copy(update={"bundles": tmp_path / "bundles"}), Lists())
    assert file
    rows = pq.read_table(file).to_pylist()
    assert [row["userId"] for row in rows] == ["described", "u1", "u2", "u3", "u4"]
    assert {row["modelVersion"] for row in rows} == {shop.models.current.id}  # type: ignore[union-attr]
    assert {item["id"] for row in rows for item in row["items"]} <= set(IDS[1::2])


async def test_a_file_of_ids_stands_for_a_segment(shop: Gateway, penchant: Command, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(f"u2\n\nold\n{'x' * 200}\nnever seen\n")
    words = ["--users", tmp_path / "ids.txt", "--to", tmp_path / "out.jsonl", "--filter", '{"categories": ["c1"]}']
    done = await asyncio.to_thread(penchant, *words, "--placement", "mail")
    assert done.returncode == 0, done.stderr
    assert "1 ids that are no user ids" in done.stderr
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["userId"], row["placement"]) for row in written] == [
        ("u2", "mail"), ("old", "mail"), ("never seen", "mail"),
    ]  # fmt: skip
    assert {item["id"] for row in written for item in row["items"]} <= set(IDS[1::2])
    assert written[-1]["degraded"] == ["UNKNOWN_PERSON"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all"], "--to URL"),
        (["--all", "--users", "ids.txt", "--to", "out"], "--all or --users"),
        (["anna", "--to", "out"], "USER"),
        ([], "USER"),
        (["--all", "--to", "out", "--filter", "{"], "filter"),
        (["--all", "--to", "out", "--placement", ""], "placement"),
        (["--users", "absent.txt", "--to", "out"], "absent.txt cannot be read"),
        (["--all", "--to", "nosuch://x/y"], "nosuch://"),
    ],
)
async def test_a_wrong_command_says_what_is_wrong(
    shop: Gateway, penchant: Command, words: list[str], said: str
) -> None:
    done = await asyncio.to_thread(penchant, *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_file_that_is_not_completed_does_not_appear(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "userId": "u1", "placement": "home", "modelVersion": None, "asOf": clock.now(), "degraded": [], "items": [],
    }  # fmt: skip
    (tmp_path / "lists.jsonl").write_text("before")

    def interrupted() -> None:
        with ListFile.at(f"{tmp_path}/lists.jsonl", "jsonl") as lists:
            lists.add(row)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


async def test_user_ids_come_in_pages_each_once(shop: Gateway) -> None:
    seen = [id async for page in stream_user_ids(shop.pool, 2) for id in page]
    assert seen == ["described", "u1", "u2", "u3", "u4"]
