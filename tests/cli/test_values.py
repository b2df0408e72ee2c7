"""What the cells of a file mean: ids, money, times and lists, in every format alike."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.loading.chunks import Chunk, WrongFile
from cli.loading.columns import Kind
from cli.loading.files import Reading, chunks_of
from cli.loading.lists import values_of
from cli.loading.money import read_amount
from cli.loading.recipes import read_recipe

pytestmark = pytest.mark.usefixtures("folder")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def read(file: str, kind: Kind = Kind.EVENTS, recipe: str = "", zone: str | None = None) -> list[Chunk]:
    """The chunks of a file, by its names or by a recipe."""
    followed = None
    if recipe:
        Path("recipe.toml").write_text(recipe)
        followed = read_recipe(Path("recipe.toml"), kind)
        zone = zone or followed.timezone
    with chunks_of(Path(file), kind, Reading(ZoneInfo(zone) if zone else None, recipe=followed)) as chunks:
        return list(chunks)


def records(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [chunk.record(place) for chunk in chunks for place in range(len(chunk.lines))]


def column(chunks: list[Chunk], name: str) -> list[Any]:
    return [record.get(name) for record in records(chunks)]


def reasons(chunks: list[Chunk]) -> list[tuple[int, str | None, str]]:
    return [(reject.line, reject.field, reject.reason) for chunk in chunks for reject in chunk.rejects]


def csv(*lines: str, name: str = "file.csv") -> str:
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return name


def in_formats(name: str, column: pa.Array, others: dict[str, Any]) -> list[str]:
    """The same column in Parquet, in CSV and in JSON lines, beside constant ones."""
    values = column.to_pylist()
    table = {name: column, **{other: pa.array([value] * len(values)) for other, value in others.items()}}
    pq.write_table(pa.table(table), "file.parquet")
    rows = [{name: value, **others} for value in values]
    Path("file.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells = (",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows)
    return ["file.parquet", "file.jsonl", csv(",".join(rows[0]), *cells)]


def test_a_float_id_is_the_same_person_in_every_format() -> None:
    ids = pa.array([13085.0, None, 2.0**53, 0.0])
    recipe = '[users]\nid = "id"\n"traits.t" = "t"\n'
    for file in in_formats("id", ids, {"t": "x"}):
        assert column(read(file, Kind.USERS, recipe), "id") == ["13085", None, "9007199254740992", "0"]
    for file in in_formats("id", ids, {"traits.t": "x"}):
        assert column(read(file, Kind.USERS), "id") == ["13085", None, "9007199254740992", "0"]


def test_floats_that_lost_digits_are_refused_in_every_format() -> None:
    for file in in_formats("id", pa.array([2.0**53 + 2, 1.5e300]), {"traits.t": "x"}):
        assert [reason[1] for reason in reasons(read(file, Kind.USERS))] == ["id", "id"], file
    pq.write_table(pa.table({"id": pa.array([2.0**24, 2.0**24 + 2], pa.float32())}), "single.parquet")
    chunks = read("single.parquet", Kind.USERS)
    assert (column(chunks, "id"), [reason[0] for reason in reasons(chunks)]) == (["16777216"], [2])


@pytest.mark.parametrize("id", ["007", "1.50", "007.0", "A.0", "5e10", "1e3", "12345678901234567890", "Nancy", "NONEX"])
def test_other_ids_stay_as_they_are(id: str) -> None:
    assert column(read(csv("id", id), Kind.USERS), "id") == [id]


def test_blanks_around_ids_are_dropped_in_every_format() -> None:
    padded = pa.array([" ERP-1  ", "\u00a0ERP-1\u00a0", "ERP-1\t"])
    for file in in_formats("id", padded, {"traits.t": "x"}):
        assert column(read(file, Kind.USERS), "id") == ["ERP-1"] * 3, file


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "null", "NULL", "None", "N/A", "NA", "<NA>", "\\N", "undefined", "-", "--"]
)
def test_words_for_no_value_are_nobody(word: str) -> None:
    Path("file.jsonl").write_text(json.dumps({"id": word}))
    assert column(read("file.jsonl", Kind.USERS), "id") == [None]
    assert column(read(csv("id,traits.t", f"{word},x"), Kind.USERS), "id") == [None]


def test_a_recipe_says_which_words_mean_no_value() -> None:
    file = csv("who,city", "null,-", "-,null")
    recipe = 'missing = ["-"]\n[users]\nid = "who"\n"traits.city" = "city"\n'
    assert records(read(file, Kind.USERS, recipe)) == [{"id": "null"}, {"traits": {"city": "null"}}]


AMOUNTS: list[tuple[str, str | None, str | None]] = [
    ("12.50", ",", None), ("4,20", ".", None), ("89,99", ".", None), ("1.2345", ",", None), ("12,34", ".", None),
    ("0,123", ".", None), ("1,23", ".", None), ("1.234.56", ".", None), ("1'23", ".", None), ("12 34", ".", None),
    ("1.234,50", ",", "1234.5"), ("1.234", ",", "1234"), ("1,234", ".", "1234"), ("1,234,567.5", ".", "1234567.5"),
    ("1,23,456.50", ".", "123456.5"), ("1'234.50", ".", "1234.5"), ("1\u2019234.50", ".", "1234.5"),
    ("1\u202f234,56 €", ",", "1234.56"), ("1\u00a0234,56", ",", "1234.56"), ("1 234", ",", "1234"),
    ("$10.00", None, "10"), ("15.00 USD", None, "15"), ("€ 9,99", ",", "9.99"), ("US$ 5", None, "5"),
    ("\u22125.00", None, "-5"), ("-5,00", ",", "-5"), ("(5.00)", None, "-5"), ("5.00-", None, "-5"),
    ("-$5", None, "-5"), ("--5", None, None), ("5,-", ",", "5"), ("CHF 9.\u2013", ".", "9"),
    ("1e3", None, "1000"), ("1,5E+02", ",", "150"), ("1e400", None, None), ("1e999999999999", None, None),
    ("+5.00", None, "5"), ("5.", None, "5"), (".5", None, "0.5"),
    ("4,20", None, "4.2"), ("1.274,00", None, "1274"), ("1,234", None, None), ("1,234.50", None, "1234.5"),
    ("5 bananas", None, None), ("EUR 5 USD", None, None), ("ten", None, None), ("1" * 500, None, None),
    ("\u0665", None, None), ("\u00b2", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "decimal", "plain"), AMOUNTS)
def test_a_mark_groups_only_before_three_digits_and_what_is_unclear_is_refused(
    text: str, decimal: str | None, plain: str | None
) -> None:
    found = read_amount(text, decimal)
    assert (found.value, found.reason is None) == (plain, plain is not None)
    assert found.reason is None or text not in found.reason


ITEMS = '[items]\nid = "id"\nprice = "price"\ncurrency = "currency"\n'


def test_the_currency_beside_an_amount_counts_when_it_is_clear_and_must_agree() -> None:
    lines = ["A;€ 5;", "B;$5;", "C;$5;CAD", "D;5 EUR;USD", "E;kr 5;SEK", "F;£5;", "G;5 usd;"]
    chunks = read(csv("id;price;currency", *lines), Kind.ITEMS, ITEMS)
    found = [(item["id"], item["price"], item.get("currency")) for item in records(chunks)]
    assert found == [
        ("A", "5", "EUR"), ("B", "5", None), ("C", "5", "CAD"), ("E", "5", "SEK"), ("F", "5", "GBP"), ("G", "5", "USD"),
    ]  # fmt: skip
    assert reasons(chunks) == [(5, "price", "price is in EUR, but the currency is USD")]


def test_amounts_are_rounded_half_even_and_counted_in_every_format() -> None:
    decimals = [Decimal("0.12345"), Decimal("0.12355"), Decimal("2.50000")]
    for file in in_formats("price", pa.array(map(float, decimals)), {"id": "a"}):
        rows = read(file, Kind.ITEMS)
        assert [Decimal(price) for price in column(rows, "price")] == [
            Decimal("0.1234"),
            Decimal("0.1236"),
            Decimal("2.5"),
        ]
        assert sum(chunk.rounded for chunk in rows) == 2, file
    for type in (pa.float32(), pa.decimal128(10, 6)):
        values = pa.array(decimals).cast(type) if pa.types.is_decimal(type) else pa.array(map(float, decimals), type)
        pq.write_table(pa.table({"id": ["a", "b", "c"], "price": values}), "typed.parquet")
        rows = read("typed.parquet", Kind.ITEMS)
        assert ([Decimal(price) for price in column(rows, "price")], rows[0].rounded) == (
            [Decimal("0.1234"), Decimal("0.1236"), Decimal("2.5")], 2,
        )  # fmt: skip


def test_numbers_of_typed_columns_have_a_point_whatever_the_decimal_mark_of_texts() -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "price": [12.5, None], "currency": ["EUR", "EUR"]}), "typed.parquet")
    assert column(read("typed.parquet", Kind.ITEMS, f'decimal = ","\n{ITEMS}'), "price") == ["12.5", None]


def test_quantities_may_have_zeros_behind_the_point_and_amounts_a_prefix() -> None:
    events = '[events]\ntype = { value = "PURCHASE" }\noccurredAt = "at"\nuserId = "at"\nquantity = "n"\n'
    lines = ("2026-01-01T00:00:00Z,2.0", "2026-01-01T00:00:00Z,1.5", "2026-01-01T00:00:00Z,(3)")
    recipe = events.replace('"n"', '{ column = "n", absolute = true }')
    assert column(read(csv("at,n", *lines), recipe=recipe), "quantity") == ["2", "1.5", "3"]
    items = '[items]\nid = "id"\nprice = { column = "v", prefix = "n" }\n'
    assert column(read(csv("id,v", "a,n15360.000", "b,12"), Kind.ITEMS, items), "price") == ["15360.000", "12"]


VIEWS = '[events]\ntype = { value = "VIEW" }\nuserId = "u"\noccurredAt = { column = "t", format = "FORMAT" }\n'


@pytest.mark.parametrize(
    ("format", "text", "moment"),
    [
        ("microseconds", "1767225600123456", NEW_YEAR + timedelta(microseconds=123456)),
        ("nanoseconds", "1767225600123456789", NEW_YEAR + timedelta(microseconds=123456)),
        ("seconds", "1767225600.25", NEW_YEAR + timedelta(seconds=0.25)),
        ("seconds", "1.7672256E+09", NEW_YEAR),
        ("seconds", "1767225600123", None),
        ("milliseconds", "1767225600", None),
        ("milliseconds", "1767225600.5", None),
        ("milliseconds", "9" * 18, None),
        ("seconds", "inf", None),
        ("seconds", "0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("excel", "46023.5", NEW_YEAR + timedelta(hours=12)),
        ("excel", "46023,5", NEW_YEAR + timedelta(hours=12)),
        ("excel", "46023.416666666664", NEW_YEAR + timedelta(hours=10)),
        ("excel 1904", "44561.5", NEW_YEAR + timedelta(hours=12)),
        ("excel", "59", None),
        ("%Y-%m-%d %H:%M:%S.%f", "2026-01-01 00:00:00.123", NEW_YEAR + timedelta(milliseconds=123)),
        ("%Y-%m-%d %H:%M:%S.%f", "2026-01-01 00:00:00", NEW_YEAR),
        ("%Y-%m-%d %H:%M:%S.%f", "2026-02-31 00:00:00.5", None),
        ("%d.%m.%Y %H:%M:%S,%f %z", "01.01.2026 01:00:00,5 +0100", NEW_YEAR + timedelta(seconds=0.5)),
        ("%m/%d/%Y %I:%M:%S %p", "1/1/2026 12:00:00 AM", NEW_YEAR),
        ("%m/%d/%Y %I:%M:%S %p", "13/1/2026 12:00:00 AM", None),
    ],
)
def test_times_are_read_in_their_format_or_set_aside(format: str, text: str, moment: datetime | None) -> None:
    recipe = f'timezone = "UTC"\ndecimal = ","\ndelimiter = ";"\n{VIEWS.replace("FORMAT", format)}'
    chunks = read(csv("u;t", f"u;{text}"), recipe=recipe)
    assert column(chunks, "occurredAt") == ([moment] if moment else [])
    assert [reason[:2] for reason in reasons(chunks)] == ([] if moment else [(2, "occurredAt")])


def test_a_count_without_a_format_asks_for_one() -> None:
    chunks = read(csv("u,t", "u,1767225600"), recipe=VIEWS.replace('{ column = "t", format = "FORMAT" }', '"t"'))
    assert [reason[2] for reason in reasons(chunks)] == [
        'occurredAt is a number: a recipe says what it counts, as in format = "seconds"'
    ]


def test_a_count_of_another_unit_names_it() -> None:
    chunks = read(csv("u,t", "u,1767225600", "u,1767225600123456"), recipe=VIEWS.replace("FORMAT", "milliseconds"))
    assert [reason[2] for reason in reasons(chunks)] == [
        "occurredAt is no usual time in milliseconds, but one in seconds",
        "occurredAt is no usual time in milliseconds, but one in microseconds",
    ]


@pytest.mark.parametrize("zone", ["UTC", None])
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_timestamp_beyond_a_datetime_is_set_aside_alone(unit: Any, zone: str | None) -> None:
    far = 2**52 if unit == "s" else 2**62  # Parquet keeps seconds as milliseconds
    times = pa.array([1_764_500_000, far, -far, None]).cast(pa.timestamp(unit, zone))
    pq.write_table(pa.table({"id": ["a", "b", "c", "d"], "updatedAt": times}), "file.parquet")
    chunks = read("file.parquet", Kind.ITEMS, zone="America/New_York")
    assert column(chunks, "id") == ["a", "d"]
    assert [reason[:2] for reason in reasons(chunks)] == [(2, "updatedAt"), (3, "updatedAt")]


def test_dates_beyond_a_datetime_are_set_aside_alone() -> None:
    days = pa.array([date(2026, 1, 1).toordinal() - 719163, 2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"id": ["a", "b", "c"], "updatedAt": days}), "file.parquet")
    chunks = read("file.parquet", Kind.ITEMS, zone="UTC")
    assert (column(chunks, "updatedAt"), len(reasons(chunks))) == ([NEW_YEAR], 2)


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "0000-01-01T00:00:00Z", "9999-12-31 23:59:59"]
)
def test_texts_beyond_a_datetime_are_set_aside(text: str) -> None:
    Path("file.jsonl").write_text(json.dumps({"id": "a", "updatedAt": text}))
    for file in ("file.jsonl", csv("id,updatedAt", f"a,{text}")):
        assert [reason[1] for reason in reasons(read(file, Kind.ITEMS, zone="America/New_York"))] == ["updatedAt"]


def test_a_skipped_or_repeated_hour_means_the_same_in_every_path() -> None:
    """In Berlin 02:30 was skipped on 30 March 2025 and repeated on 26 October 2025."""
    local = ["2025-03-30 02:30:00", "2025-10-26 02:30:00", "2025-06-01 02:30:00"]
    meant = [
        datetime(2025, 3, 30, 1, 30, tzinfo=UTC),
        datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
        datetime(2025, 6, 1, 0, 30, tzinfo=UTC),
    ]
    assert [
        datetime.fromisoformat(each).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC) for each in local
    ] == meant
    lines = csv("u,t", *(f"u,{each}" for each in local))
    berlin = f'timezone = "Europe/Berlin"\n{VIEWS}'
    assert column(read(lines, recipe=berlin.replace("FORMAT", "%Y-%m-%d %H:%M:%S")), "occurredAt") == meant
    assert (
        column(read(lines, recipe=berlin.replace('{ column = "t", format = "FORMAT" }', '"t"')), "occurredAt") == meant
    )
    named = csv("userId,type,occurredAt", *(f"u,VIEW,{each}" for each in local))
    assert column(read(named, zone="Europe/Berlin"), "occurredAt") == meant
    short = csv("userId,type,occurredAt", *(f"u,VIEW,{each[:16]}" for each in local))
    assert column(read(short, zone="Europe/Berlin"), "occurredAt") == meant
    times = pa.array(map(datetime.fromisoformat, local), pa.timestamp("ms"))
    pq.write_table(pa.table({"type": ["VIEW"] * 3, "userId": ["u"] * 3, "occurredAt": times}), "file.parquet")
    assert column(read("file.parquet", zone="Europe/Berlin"), "occurredAt") == meant
    Path("file.jsonl").write_text(
        "".join(json.dumps({"type": "VIEW", "userId": "u", "occurredAt": each}) + "\n" for each in local)
    )
    assert column(read("file.jsonl", zone="Europe/Berlin"), "occurredAt") == meant


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00.0000001Z", "2026-01-01T00:00Z", "20260101T000000Z", "2026-01-01T01:00:00+0100",
     "2026-01-01 00:00:00 UTC", "2026-01-01 00:00:00 +0000 UTC", "2026-01-01T00:00:00,0Z", "2026-01-01"],
)  # fmt: skip
def test_usual_forms_of_iso_8601_are_read(text: str) -> None:
    assert column(read(csv("id;updatedAt", f"a;{text}"), Kind.ITEMS, zone="UTC"), "updatedAt") == [NEW_YEAR]


@pytest.mark.parametrize(
    ("text", "separator", "levels", "names"),
    [
        ("Clothing > Women > Shoes, Sale", ",", None, ["Clothing", "Sale", "Women", "Shoes"]),
        ("Clothing/Women;Clothing/Men", ";", "/", ["Clothing", "Women", "Men"]),
        ("A > B", ",", "", ["A > B"]),
        ("Drinks > Tea|Gifts > Tea", None, None, ["Drinks", "Gifts", "Tea"]),
        ("Drinks » Tea", None, None, ["Drinks", "Tea"]),
        ("Drinks &gt; Tea", None, None, ["Drinks", "Tea"]),
        ("['Drinks', 'Tea']", None, None, ["Drinks", "Tea"]),
        ('["Drinks > Tea", "Sale"]', None, ">", ["Drinks", "Sale", "Tea"]),
        ('["Drinks", null, " Tea "]', None, None, ["Drinks", "Tea"]),
        ("{Drinks,Tea}", None, None, ["Drinks", "Tea"]),
        ("Drinks, Tea", None, None, ["Drinks, Tea"]),
        (">", None, None, []),
    ],
)
def test_categories_are_each_level_of_each_path_once_the_widest_first(
    text: str, separator: str | None, levels: str | None, names: list[str]
) -> None:
    assert values_of("categories", text, separator, levels) == names
    keys = "".join(
        f', {key} = "{value}"' for key, value in (("separator", separator), ("levels", levels)) if value is not None
    )
    recipe = f'delimiter = "\t"\n[items]\nid = "id"\ncategories = {{ column = "c"{keys} }}\n'
    Path("file.tsv").write_text(
        "id\tc\na\t" + (f'"{text.replace(chr(34), chr(34) * 2)}"' if '"' in text else text) + "\n"
    )
    assert column(read("file.tsv", Kind.ITEMS, recipe), "categories") == [names or None]


@pytest.mark.parametrize("text", ['["Drinks"', "[1, [2]]", "[" * 3000, '[{"a": 1}]'])
def test_a_broken_list_rejects_its_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"list"):
        values_of("categories", text)


GATHERED = """
timezone = "UTC"
decimal = ","
delimiter = ";"
[items]
id = "sku"
title = "name"
price = "price"
currency = { value = "EUR" }
url = "url"
updatedAt = { column = "date", format = "%d.%m.%Y" }
"""


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("06.01.2026;T;Tea;—;", "price"),
        ("06.01.2026;T;Tea;-9,90;", "price"),
        ("06.01.2026;T;Tea;9,90;nowhere", "url"),
        (f"06.01.2026;T;{'x' * 1001};9,90;", "title"),
        ("06.01.2999;T;Tea;9,90;", "updatedAt"),
        ("06.01.2026;;Tea;9,90;", "id"),
    ],
)
def test_a_wrong_line_of_a_gathered_item_is_rejected_alone(line: str, field: str) -> None:
    file = csv(
        "date;sku;name;price;url", "05.01.2026;T;Green tea;2,50;", line, "04.01.2026;T;Old;1,00;https://x.example/"
    )
    chunks = read(file, Kind.ITEMS, GATHERED)
    assert [reason[:2] for reason in reasons(chunks)] == [(3, field)]
    (item,) = records(chunks)
    assert (item["title"], item["price"], item["url"]) == ("Green tea", "2.50", "https://x.example/")


def test_absolute_drops_the_minus_of_numbers_and_leaves_times_alone() -> None:
    recipe = (
        '[items]\nid = "id"\nprice = { column = "p", absolute = true }\nupdatedAt = { column = "t", absolute = true }\n'
    )
    (item,) = records(read(csv("id,p,t", "a,(5.00),2026-01-01T00:00:00Z"), Kind.ITEMS, recipe))
    assert (item["price"], item["updatedAt"]) == ("5", NEW_YEAR)


def test_a_column_of_another_type_is_named() -> None:
    pq.write_table(pa.table({"id": [["a"]]}), "file.parquet")
    with pytest.raises(WrongFile, match="'id' is of the type list"):
        read("file.parquet", Kind.ITEMS)
