"""After a load, a summary in words and for machines: what was loaded, what was rejected, and what looks odd."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cli.loading import shapes
from cli.loading.sketches import Distinct, Frequent
from cli.loading.tallies import Prices
from db.postgres import Pool
from tests.commands import invoke

HEADER = "type,occurredAt,userId,itemId,orderId,unitPrice,currency"
Summarize = Callable[..., dict[str, Any]]


@pytest.fixture
def summarize(pool: Pool, database: str) -> Summarize:
    """Loads a CSV of these lines: its summary as JSON."""

    def run(kind: str, header: str, lines: Sequence[str], *words: str) -> dict[str, Any]:
        Path("log.csv").write_text("\n".join([header, *lines]) + "\n")
        result = invoke("load", kind, "log.csv", "--json", *words)
        assert result.exit_code < 2, result.stderr
        summary: dict[str, Any] = json.loads(result.stdout)["summary"]
        return summary

    return run


def orders(count: int = 20, **changed: str) -> list[str]:
    """Lines by different people, two an order, at different times and prices."""
    lines = []
    for number in range(count):
        usual = {
            "type": "PURCHASE", "at": f"2026-01-{number % 28 + 1:02}T12:{number % 60:02}:00Z", "who": f"u{number % 9}",
            "item": f"{100 + number % 7}", "order": f"o{number // 2}", "price": f"{number + 1}.50", "currency": "EUR",
        }  # fmt: skip
        lines.append(",".join({**usual, **changed}.values()))
    return lines


def test_a_summary_counts_people_items_orders_and_types_in_their_span(summarize: Summarize) -> None:
    found = summarize("events", HEADER, [*orders(), *orders(2, type="VIEW", at="2025-12-31T12:00:00Z")])
    counts = {name: found[name] for name in ("people", "items", "orders", "types", "approximate", "odd")}
    assert counts == {
        "people": 9, "items": 7, "orders": 10, "types": {"PURCHASE": 20, "VIEW": 2}, "approximate": False, "odd": [],
    }  # fmt: skip
    assert (found["from"][:10], found["to"][:10]) == ("2025-12-31", "2026-01-20")


def test_the_summary_says_who_names_no_item_and_why(summarize: Summarize, pool: Pool) -> None:
    summarize("items", "id", [f"SKU-{number}" for number in range(100, 107)])
    found = summarize("events", HEADER, orders())
    assert found["knownItemShare"] == 0
    assert found["naming"] == (
        "0 of 20 events (0%) name an item of the catalogue. The events name `100`, `101`, `102`; the catalogue has"
        " `SKU-100`, `SKU-101`, `SKU-102`. Likely cause: the ids of one side start with `SKU-`."
    )
    assert summarize("items", "id", ["100", "101", "102", "103"])["naming"] == (
        "12 of 20 stored events (60%) name an item of the catalogue."
    )
    assert summarize("events", HEADER, orders(8, type="VIEW"))["knownItemShare"] == pytest.approx(5 / 8)


def test_float_ids_of_events_name_the_items_of_the_catalogue(summarize: Summarize) -> None:
    summarize("items", "id", ["100"])
    assert summarize("events", HEADER, orders(item="100.0"))["knownItemShare"] == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"who": "u1"}, "one person has 100% of the events"),
        ({"at": "2026-01-05T00:00:00Z"}, "all events are at midnight"),
        ({"price": "1999"}, "all prices are 1999"),
        ({"order": ""}, "every line is an order of its own"),
        ({"order": "o1"}, "people share 1 order ids"),
        ({"type": "VIEW"}, "there is no PURCHASE"),
    ],
)
def test_what_looks_odd_is_said(summarize: Summarize, changed: dict[str, str], words: str) -> None:
    assert any(words in odd for odd in summarize("events", HEADER, orders(20, **changed))["odd"])


def test_equal_lines_and_prices_in_cents_are_odd(summarize: Summarize) -> None:
    lines = [line.replace(".50", "99") for line in orders(20)]
    found = summarize("events", HEADER, [*lines, *lines[:2]])
    assert [odd[:20] for odd in found["odd"]] == ["all prices are whole", "9% of the events are"[:20]]
    yen = [line.replace("EUR", "JPY") for line in lines]
    assert summarize("events", HEADER, yen)["odd"] == []
    assert (
        "are they in cents?"
        in summarize("items", "id,price,currency", [f"i{n},{n}99,EUR" for n in range(1, 25)])["odd"][0]
    )


def test_local_midnights_are_those_of_the_files_zone(summarize: Summarize) -> None:
    lines = orders(at="2026-01-05 00:00:00")
    assert any("midnight" in odd for odd in summarize("events", HEADER, lines, "--timezone", "Asia/Tokyo")["odd"])


def test_the_reasons_of_rejects_and_rounded_amounts_are_counted(summarize: Summarize) -> None:
    lines = [*orders(3, price="1.23456"), *orders(2, price="free"), *orders(1, at="1970-01-21T00:00:00Z")]
    found = summarize("events", HEADER, lines)
    assert found["rounded"] == 3
    assert found["reasons"] == {"unitPrice is not a number": 2, "occurredAt lies before 1990": 1}


def test_a_wrong_unit_of_times_is_said_at_once(pool: Pool, database: str) -> None:
    Path("views.toml").write_text(
        '[events]\ntype = { value = "VIEW" }\nuserId = "u"\nitemId = "u"\n'
        'occurredAt = { column = "t", format = "milliseconds" }\n'
    )
    Path("views.csv").write_text("u,t\n" + "a,1767225600\n" * 3)
    result = invoke("load", "events", "views.csv", "--recipe", "views.toml")
    assert result.exit_code == 1
    assert "rejected: 3 because occurredAt is no usual time in milliseconds, but one in seconds" in result.stdout
    assert "odd: most times lie far from now: is the format of the times right?" in result.stdout


def test_a_summary_is_words_on_a_terminal_and_of_a_dry_run_too(pool: Pool, database: str) -> None:
    Path("log.csv").write_text("\n".join([HEADER, *orders()]) + "\n")
    result = invoke("load", "events", "log.csv", "--dry-run")
    assert result.exit_code == 0
    assert "9 people, 7 items, 10 orders, from 2026-01-01 to 2026-01-20: 20 PURCHASE\n" in result.stdout


def test_an_items_file_of_1970_is_odd(summarize: Summarize) -> None:
    found = summarize("items", "id,updatedAt", ["a,1970-01-21T10:53:45Z"])
    assert found["odd"] == ["1 items were updated before 1990: is the format of updatedAt right?"]


@pytest.mark.parametrize(("command", "words"), [("load", ["users", "a.csv"]), ("models", ["list"]), ("train", []),
                                                ("events", ["dead", "list"])])  # fmt: skip
def test_without_a_running_stack_a_command_ends_as_with_a_store_that_is_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, words: list[str]
) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "BROKER_URL"):
        monkeypatch.delenv(f"PENCHANT_{name}", raising=False)
    Path("a.csv").write_text("id\n")
    result = invoke(command, *words)
    assert result.exit_code == 3
    assert "No stack runs here" in result.stderr


def test_few_values_are_counted_exactly_and_many_closely() -> None:
    few, many = Distinct(1000), Distinct(1000)
    for start in range(0, 100_000, 1000):
        few.add([f"a{number % 1000}" for number in range(start, start + 1000)])
        many.add([f"a{number // 2}" for number in range(start, start + 1000)])
    assert (few.count, few.exact) == (1000, True)
    assert not many.exact
    assert many.count == pytest.approx(50_000, rel=0.15)
    assert len(many._hashes) == 1000


def test_a_frequent_value_is_found_among_many_in_bounded_memory() -> None:
    found = Frequent(10)
    for start in range(0, 10_000, 100):
        found.add({"often": 60, **{f"rare-{number}": 1 for number in range(start, start + 40)}})
    value, count = found.most()
    assert value == "often"
    assert 5000 <= count <= 6000
    assert len(found._counts) <= 20


def test_free_lines_say_nothing_about_prices() -> None:
    prices = Prices()
    prices.add(pa.array([0.0, 5.0]).to_numpy())
    assert (prices.lines, prices.least) == (1, 5.0)


ORDERS = "Name,Email,Financial Status,Created at,Sku,Id"
EXPORT = [
    "#1001,ann@x.example,paid,2026-01-05T12:00:00Z,T1,91",
    "#1001,,,,C1,",
    "#1001, ,,,P1,",
    "#1002,bob@x.example,paid,2026-01-06T12:00:00Z,T1,92",
    "#1002,,,,C1,",
    "#1003,,paid,2026-01-06T13:00:00Z,T1,93",
    "#1004,,,,T1,",
]
NAIVE = """
keep = { "Financial Status" = "paid" }
[events]
type = { value = "PURCHASE" }
occurredAt = "Created at"
userId = "Email"
itemId = "Sku"
orderId = "Name"
"""
PAID = 'keep = { "Financial Status" = "paid" }'
ALL_BLANK = '"Created at", "Email", "Financial Status"'


@pytest.mark.parametrize("size", [25_000, 2, 1])
@pytest.mark.parametrize(
    ("recipe", "lines", "needs"),
    [
        (NAIVE, "line 3 (#1001), line 4 (#1001), line 6 (#1002)", f'by = "Name", columns = [{ALL_BLANK}]'),
        (NAIVE.replace(PAID, ""), "line 3 (#1001), line 4 (#1001), line 6 (#1002)",
         'by = "Name", columns = ["Created at", "Email"]'),
        (NAIVE.replace('orderId = "Name"', 'orderId = "Id"'), "line 3 (91), line 4 (91), line 6 (92)",
         f'by = "Id", columns = [{ALL_BLANK}, "Id"]'),
        ('fill_down = { by = "Name", columns = ["Email", "Created at"] }' + NAIVE,
         "line 3 (#1001), line 4 (#1001), line 6 (#1002)",
         'by = "Name", columns = ["Email", "Created at", "Financial Status"]'),
    ],
)  # fmt: skip
def test_lines_that_lack_what_their_order_has_are_named_with_the_key_that_fills_them(
    summarize: Summarize, recipe: str, lines: str, needs: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "CHUNK", size)
    Path("shop.toml").write_text(recipe)
    (odd,) = [words for words in summarize("events", ORDERS, EXPORT, "--recipe", "shop.toml")["odd"] if "fill" in words]
    assert odd.startswith("3 lines lack ") or "Id" in needs  # of #1004 nobody knows more, and its Id is blank
    assert lines in odd and odd.endswith(f"the recipe needs fill_down = {{ {needs} }}")


def test_no_blank_cell_is_odd_where_the_recipe_fills_it_or_nothing_is_above(summarize: Summarize) -> None:
    filled = f'fill_down = {{ by = "Name", columns = [{ALL_BLANK}] }}' + NAIVE
    Path("shop.toml").write_text(filled)
    found = summarize("events", ORDERS, EXPORT, "--recipe", "shop.toml")
    assert (found["people"], found["items"], found["odd"]) == (2, 3, [])
    Path("shop.toml").write_text(NAIVE.replace('"Email"', '"Email"\nanonymousId = "Id"'))
    guests = [f"#{at},{who},paid,2026-01-05T12:0{at}:00Z,T1,g{at}" for at, who in enumerate(["ann", "", "", "bob", ""])]
    assert summarize("events", ORDERS, guests, "--recipe", "shop.toml")["odd"] == []


def test_variants_without_the_title_of_their_group_are_named(summarize: Summarize) -> None:
    Path("shop.toml").write_text('[items]\nid = "Sku"\ngroupId = "Handle"\ntitle = "Title"\nbrand = "Vendor"\n')
    lines = ["cup,Cup,Acme,c1", "cup,,,c2", "cup,,Acme,c3", "tea,Tea,Acme,t1"]
    (odd,) = summarize("items", "Handle,Title,Vendor,Sku", lines, "--recipe", "shop.toml")["odd"]
    assert "line 3 (cup), line 4 (cup)" in odd and odd.endswith('{ by = "Handle", columns = ["Title"] }')


def test_ids_that_look_like_several_ask_for_each(summarize: Summarize) -> None:
    lines = [line.replace(f",{100 + at % 7},", f",T-{at}|T-{at + 1},") for at, line in enumerate(orders())]
    (odd,) = summarize("events", HEADER, lines)["odd"]
    assert odd.startswith("ids of items look like several in one, as `T-0|T-1`, `T-1|T-2`, `T-2|T-3`: ")
    assert 'each = "..."' in odd


def test_categories_that_hold_the_comma_between_two_paths_ask_for_a_separator(summarize: Summarize) -> None:
    lines = ['a,"Home > Tea, Home > Cups"', 'b,"Food, Drink > Tea"']
    (odd,) = summarize("items", "id,categories", lines)["odd"]
    assert odd == (
        'categories look like two in one, as `Tea, Home`: the recipe needs categories = { .., separator = "," }'
    )
