"""A file changes what it names and nothing else: columns, cells, markets, keys."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.loading.columns import Kind
from db.items import Item
from db.postgres import Pool
from db.users import user_by_id
from tests.commands import invoke
from tests.fixtures.items import items_by_id
from tests.reading import read, records

pytestmark = pytest.mark.usefixtures("folder", "database")
FULL = "id,title,price,currency,available,attributes.color,attributes.size"
TEA = "tea,Tea,2.50,EUR,true,green,M"
CUP = "cup,Cup,9.90,EUR,false,red,L"


def file_of(*lines: str, name: str = "items.csv") -> Path:
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return Path(name)


def json_file(*elements: object) -> Path:
    return file_of(*map(json.dumps, elements), name="items.jsonl")


async def load(pool: Pool, *words: str | Path, kind: str = "items", code: int = 0) -> dict[str, Any]:
    result = await asyncio.to_thread(invoke, "load", kind, *words, "--json")
    assert result.exit_code == code, result.output
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def rejects_in(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


async def stored(pool: Pool, id: str) -> Item:
    return (await items_by_id(pool, [id]))[id]


def offers_of(item: Item) -> list[tuple[str | None, str | None, str | None, bool]]:
    return [
        (offer.market, None if offer.price is None else str(offer.price), offer.currency, offer.available)
        for offer in item.offers
    ]


@pytest.fixture
async def shelf(pool: Pool) -> None:
    await load(pool, file_of(FULL, TEA, CUP))


@pytest.mark.parametrize(
    ("lines", "offer", "attributes"),
    [
        (("id,available", "cup,true"), (None, "9.90", "EUR", True), {"color": "red", "size": "L"}),
        (("id,price,currency", "cup,8.90,EUR"), (None, "8.90", "EUR", False), {"color": "red", "size": "L"}),
        (("id,price", "cup,8.90"), (None, "8.90", "EUR", False), {"color": "red", "size": "L"}),
        (("id,attributes.color", "cup,blue"), (None, "9.90", "EUR", False), {"color": "blue", "size": "L"}),
        ((FULL, "cup,,,,,,"), (None, "9.90", "EUR", False), {"color": "red", "size": "L"}),
        (("id", "cup"), (None, "9.90", "EUR", False), {"color": "red", "size": "L"}),
    ],
)
async def test_a_file_keeps_what_it_does_not_name(
    pool: Pool, shelf: None, lines: Sequence[str], offer: Any, attributes: dict[str, str]
) -> None:
    assert (await load(pool, file_of(*lines)))["stored"] == 1
    cup = await stored(pool, "cup")
    assert (cup.title, offers_of(cup), cup.attributes) == ("Cup", [offer], attributes)
    assert offers_of(await stored(pool, "tea")) == [(None, "2.50", "EUR", True)]


async def test_traits_that_a_file_does_not_name_are_kept(pool: Pool) -> None:
    await load(pool, file_of("id,traits.city,traits.age", "ann,Berlin,30"), kind="users")
    await load(pool, file_of("id,traits.city,traits.age", "ann,,31"), kind="users")
    ann = await user_by_id(pool, "ann")
    assert ann and ann.traits == {"city": "Berlin", "age": "31"}


async def test_a_null_of_json_lines_clears_as_in_an_upload(pool: Pool, shelf: None) -> None:
    await load(pool, json_file({"id": "cup", "price": None, "attributes": {"size": None}}))
    cup = await stored(pool, "cup")
    assert (offers_of(cup), cup.attributes, cup.title) == ([(None, None, "EUR", False)], {"color": "red"}, "Cup")


RECIPE = """
{above}
[items]
id = "sku"
title = "name"
price = {{ column = "price"{price} }}
brand = {{ column = "brand", optional = true }}
"attributes.size" = "size"
"""


@pytest.mark.parametrize(
    ("above", "price", "left"),
    [
        ("", "", ("Cup", "9.90", {"color": "red", "size": "L"})),
        ("", ', empty = "clear"', ("Cup", None, {"color": "red", "size": "L"})),
        ('empty = "clear"', "", (None, None, {"color": "red"})),
        ('empty = "clear"', ', empty = "keep"', (None, "9.90", {"color": "red"})),
    ],
)
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
async def test_an_empty_cell_clears_only_where_the_recipe_says_so(
    pool: Pool, shelf: None, format: str, above: str, price: str, left: tuple[Any, ...]
) -> None:
    """A column that the file does not have clears nothing."""
    await load(pool, file_of("id,brand", "cup,Clay"))
    line = dict.fromkeys(("sku", "name", "price", "size"))
    lines: list[dict[str, Any]] = [{**line, "sku": "cup"}, {"sku": "pot", "name": "Pot", "price": "3", "size": "S"}]
    file = Path(f"shop.{format}")
    if format == "parquet":
        pq.write_table(pa.Table.from_pylist(lines), file)
    elif format == "jsonl":
        file_of(*map(json.dumps, lines), name=file.name)
    else:
        rows = (",".join(each[name] or "" for name in line) for each in lines)
        file_of(",".join(line), *rows, name=file.name)
    recipe = file_of(RECIPE.format(above=above, price=price), name="shop.toml")
    await load(pool, file, "--recipe", recipe)
    cup = await stored(pool, "cup")
    assert (cup.title, offers_of(cup)[0][1], cup.attributes) == left
    assert (cup.brand, offers_of(cup)[0][2:]) == ("Clay", ("EUR", False))


def test_the_last_line_of_an_item_says_whether_it_clears() -> None:
    recipe = '[items]\nid = "sku"\ntitle = "name"\nprice = { column = "price", empty = "clear" }\n'
    file = file_of("sku,name,price", "cup,Cup,1", "cup,,", "tea,,", "tea,Tea,2")
    assert records(read(recipe, file, Kind.ITEMS)) == [
        {"id": "cup", "title": "Cup", "price": None}, {"id": "tea", "title": "Tea", "price": "2"},
    ]  # fmt: skip


async def test_lines_of_several_markets_each_keep_their_offer(pool: Pool, shelf: None) -> None:
    """With and without a recipe, which gathers the lines of an item."""
    lines = ("id,title,market,price,currency,available", "cup,Mug,uk,8,GBP,", "cup,,se,90,SEK,no", "cup,,,10,,yes")
    wanted = [(None, "10", "EUR", True), ("uk", "8", "GBP", True), ("se", "90", "SEK", False)]
    recipe = "".join(f'{name} = "{name}"\n' for name in lines[0].split(","))
    for words in ((), ("--recipe", file_of(f"[items]\n{recipe}", name="shop.toml"))):
        await load(pool, file_of(*lines), *words)
        cup = await stored(pool, "cup")
        assert (cup.title, offers_of(cup)) == ("Mug", wanted)
        await load(pool, json_file({"id": "cup", "offers": None}))
        await load(pool, file_of(FULL, CUP))


async def test_an_item_may_be_written_in_a_file_as_it_is_read(pool: Pool) -> None:
    whole = {"id": "tea", "image": {"url": "https://shop.example/a.png"}, "market": "de", "available": False,
             "price": {"amount": 2.5, "currency": "EUR"}, "listPrice": {"amount": "3", "currency": "EUR"}}  # fmt: skip
    await load(pool, json_file(whole))
    tea = await stored(pool, "tea")
    assert (offers_of(tea), tea.image_url) == ([("de", "2.5", "EUR", False)], "https://shop.example/a.png")
    assert str(tea.offers[0].list_price) == "3"


async def test_a_line_that_grows_an_item_too_large_is_rejected_alone(pool: Pool) -> None:
    parts = [{"id": "tea", "attributes": {key: "x" * 15_000}} for key in "abcde"]
    for part in parts[:4]:
        await load(pool, json_file(part))
    loaded = await load(pool, json_file(parts[4], {"id": "cup"}), code=1)
    assert (loaded["stored"], loaded["duplicate"], loaded["rejected"]) == (1, 0, 1)
    assert rejects_in(loaded["rejects"]) == [
        {"line": 1, "field": None, "reason": "would be too large together with what is stored"}
    ]
