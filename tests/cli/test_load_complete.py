"""`penchant load items FILE --complete`: what the file leaves out becomes unavailable, within a guard."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from core.uploads import read_item
from db.complete_files import add_named, begin_file, find_omitted, make_named_available, make_omitted_unavailable
from db.items import Item, catalogue_version, upsert_items
from db.postgres import Pool
from engine.catalogue.offers import is_available
from tests.commands import invoke
from tests.fixtures.items import items_by_id

IDS = [f"i{number}" for number in range(10)]
MARKETS = [{"price": "3", "currency": "EUR"}, {"market": "uk", "price": "2", "available": False}, {"market": "se"}]


@pytest.fixture
async def shelf(pool: Pool, database: str) -> None:
    """Ten available items, i0 with three offers and i1 with none, and one that is sold out."""
    items: list[dict[str, Any]] = [{"id": id, "price": "5"} for id in IDS[2:]]
    items += [{"id": "i0", "offers": MARKETS}, {"id": "i1", "title": "Tea"}, {"id": "out", "available": False}]
    await upsert_items(pool, [read_item(item) for item in items])


def file_of(*lines: str) -> Path:
    Path("items.csv").write_text("".join(f"{line}\n" for line in lines))
    return Path("items.csv")


async def load(*words: str | Path, code: int = 0) -> dict[str, Any]:
    result = await asyncio.to_thread(invoke, "load", "items", *words, "--complete", "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout else {"error": result.stderr}


async def stored(pool: Pool) -> dict[str, Item]:
    return await items_by_id(pool, [*IDS, "out", "new"])


async def available(pool: Pool, market: str | None = None) -> set[str]:
    return {id for id, item in (await stored(pool)).items() if is_available(item.offers, market)}


async def test_what_a_complete_file_leaves_out_is_unavailable_in_every_market(pool: Pool, shelf: None) -> None:
    summary = (await load(file_of("id", *IDS[2:], "new")))["summary"]
    assert (summary["omitted"], summary["returned"]) == (2, 0)
    for market in (None, "se", "uk", "elsewhere"):
        assert await available(pool, market) == {*IDS[2:], "new"}
    left = (await stored(pool))["i0"]
    assert [str(offer.price) for offer in left.offers] == ["3", "2", "None"]


async def test_an_item_that_a_complete_file_has_again_is_as_before(pool: Pool, shelf: None) -> None:
    """But for what the shop said in the meantime; an item that it sold out itself stays sold out."""
    before = await stored(pool)
    await load(file_of("id", *IDS[2:]))
    await upsert_items(pool, [read_item({"id": "i0", "price": "4", "title": "Pot"})])
    assert await available(pool) == {*IDS[2:]}
    result = await asyncio.to_thread(invoke, "load", "items", file_of("id", "i0", "i1"))
    assert result.exit_code == 0 and await available(pool) == {*IDS[2:]}, "the file does not say that it is complete"
    assert (await load(file_of("id", *IDS, "out")))["summary"]["returned"] == 2
    after = await stored(pool)
    assert {id: after[id].offers for id in (*IDS[1:], "out")} == {id: before[id].offers for id in (*IDS[1:], "out")}
    assert [(str(offer.price), offer.available) for offer in after["i0"].offers] == [
        ("4", True), ("2", False), ("None", True),
    ]  # fmt: skip


async def test_what_a_shop_says_of_an_omitted_item_counts(pool: Pool, shelf: None) -> None:
    await load(file_of("id", *IDS[2:]))
    await upsert_items(pool, [read_item({"id": "i0", "available": True}), read_item({"id": "i1", "available": False})])
    assert await available(pool) == {"i0", *IDS[2:]}
    await load(file_of("id", *IDS))
    assert await available(pool) == {*IDS} - {"i1"}


async def test_more_than_a_fifth_of_the_available_items_needs_force(pool: Pool, shelf: None) -> None:
    """The item that is sold out already does not count. Nothing of a refused file is stored."""
    seq = await catalogue_version(pool)
    file = file_of("id,price", *(f"{id},7" for id in IDS[3:]), "new,7")
    refused = await load(file, code=2)
    assert "it leaves out 3 of 10 available items, more than 20 %; nothing was stored" in refused["error"]
    assert await catalogue_version(pool) == seq and "new" not in await stored(pool)
    assert (await load(file, "--force"))["summary"]["omitted"] == 3
    assert await available(pool) == {*IDS[3:], "new"}


async def test_an_empty_file_makes_nothing_unavailable(pool: Pool, shelf: None) -> None:
    assert "leaves out 10 of 10" in (await load(file_of("id"), code=2))["error"]
    assert await available(pool) == {*IDS}


async def test_a_rejected_line_names_its_item(pool: Pool, shelf: None) -> None:
    lines = (f"{id}," for id in IDS[3:])
    loaded = await load(file_of("id,price", "i1,dear", "i2,-1", *lines), code=1)
    assert (loaded["rejected"], loaded["summary"]["omitted"]) == (2, 1)
    assert await available(pool) == {*IDS[1:]}


@pytest.mark.parametrize("line", ['"', ",5", "4.1E+12,5"])
async def test_a_rejected_line_without_an_id_needs_force(pool: Pool, shelf: None, line: str) -> None:
    file = file_of("id,price", *(f"{id},6" for id in IDS[1:]), line)
    refused = await load(file, code=2)
    assert "1 lines were rejected without an id (see items.csv.rejects.jsonl)" in refused["error"]
    assert await available(pool) == {*IDS} and str((await stored(pool))["i2"].offers[0].price) == "5"
    assert (await load(file, "--force", code=1))["summary"]["omitted"] == 1


async def test_older_lines_name_their_items_and_lines_that_a_recipe_skips_do_not(pool: Pool, shelf: None) -> None:
    Path("shop.toml").write_text('skip = { state = "gone" }\n[items]\nid = "id"\nupdatedAt = "at"\n')  # noqa: ASYNC240
    old = "2020-01-01T00:00:00Z"
    file = file_of("id,at,state", *(f"{id},{old},on" for id in IDS[1:]), f"i0,{old},gone")
    loaded = await load(file, "--recipe", "shop.toml")
    assert (loaded["stored"], loaded["duplicate"], loaded["summary"]["omitted"]) == (0, 9, 1)
    assert await available(pool) == {*IDS[1:]}


async def test_an_item_that_changes_while_the_file_is_loaded_is_left_alone(pool: Pool, shelf: None) -> None:
    async with pool.acquire() as connection:
        await begin_file(connection)
        await add_named(connection, IDS[2:])
        assert await find_omitted(connection) == (10, 2)
        await upsert_items(pool, [read_item({"id": "i0", "title": "Pot"}), read_item({"id": "new"})])
        assert await make_omitted_unavailable(connection) == 1
        assert await available(pool) == {*IDS, "new"} - {"i1"}
        seq = await catalogue_version(pool)
        assert await make_named_available(connection) == 0 and await catalogue_version(pool) == seq


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("users", "a.csv", "--complete"), "--complete is for items"),
        (("items", "a.csv", "--complete", "--dry-run"), "not for a dry run"),
        (("items", "a.csv", "--force"), "--force needs --complete"),
        (("items", "/dev/null", "--complete"), "a complete file is read twice"),
    ],
)
def test_what_complete_does_not_fit_is_a_wrong_command(database: str, words: tuple[str, ...], message: str) -> None:
    result = invoke("load", *words)
    assert result.exit_code == 2 and message in result.stderr
