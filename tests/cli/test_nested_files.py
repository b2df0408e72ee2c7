"""Recipes read nested values by paths, make lines of lists, and refuse what is not there or not plain."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.loading import bounded_lines
from cli.loading.chunks import WrongFile
from cli.loading.columns import Kind
from cli.loading.paths import is_at, path_of, value_at
from cli.loading.recipes import WrongRecipe
from tests.reading import column, read, records, rejects, skipped

pytestmark = pytest.mark.usefixtures("folder")
ITEMS = '[items]\nid = "id"\n'
LINES = """
[events]
type = { value = "PURCHASE" }
occurredAt = "at"
userId = "who"
itemId = "items[].sku"
orderId = "order.id"
quantity = "items[].count"
"""
ORDER = {"at": "2026-01-05T12:00:00Z", "who": "ann", "order": {"id": 7}}


def json_file(*values: Any) -> Path:
    Path("log.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    return Path("log.jsonl")


def parquet_file(values: Sequence[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(values)), "log.parquet")
    return Path("log.parquet")


def csv_file(*lines: str) -> Path:
    Path("log.csv").write_text("\n".join(lines) + "\n")
    return Path("log.csv")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sku", ("sku",)),
        ("category.name", ("category", "name")),
        ("products.0.sku", ("products", "0", "sku")),
        ("products[0].sku", ("products", "0", "sku")),
        ("items[].item_id", ("items", "[]", "item_id")),
        ("orders[].lines[].sku", ("orders", "[]", "lines", "[]", "sku")),
        ('"a.b".c', ("a.b", "c")),
        ('"say ""hi"""', ('say "hi"',)),
        ("Lineitem name", ("Lineitem name",)),
        ("Price [EUR]", ("Price [EUR]",)),
        ('15" pan.size', ('15" pan.size',)),
        ("a..b", ("a..b",)),
        ("a.", ("a.",)),
        ("", ("",)),
    ],
)
def test_a_path_has_steps_and_any_other_text_is_a_name(text: str, path: tuple[str, ...]) -> None:
    assert path_of(text) == path


@pytest.mark.parametrize(
    ("value", "path", "found", "there"),
    [
        ({"a": {"b": 1}}, "a.b", 1, True),
        ({"a": {}}, "a.b", None, False),
        ({"a": None}, "a.b", None, None),
        ({"a": "text"}, "a.b", None, False),
        ({"a": '{"b": 2}'}, "a.b", 2, True),
        ({"a": [{"b": 3}]}, "a.0.b", 3, True),
        ({"a": {"b": 3}}, "a.0.b", 3, True),
        ({"a": [{"b": 3}]}, "a.1.b", None, None),
        ({"a": [{"b": 3}]}, "a.b", [{"b": 3}], False),
        ({"a": []}, "a.0.b", None, None),
        ([{"b": None}], "0.b", None, True),
    ],
)
def test_a_path_is_followed_and_says_whether_it_exists(value: Any, path: str, found: Any, there: bool | None) -> None:
    assert value_at(value, path_of(path)) == found
    assert is_at(value, path_of(path)) is there


def test_json_and_parquet_make_a_line_of_each_value_of_a_list() -> None:
    orders = [
        {**ORDER, "items": [{"sku": "tea", "count": 2}, {"sku": "cup", "count": 1}]},
        {**ORDER, "who": "bob", "items": [{"sku": "pot", "count": 3}]},
    ]
    expected = [("ann", "tea", "7", "2"), ("ann", "cup", "7", "1"), ("bob", "pot", "7", "3")]
    for file in (json_file(*orders), parquet_file(orders)):
        chunks = read(LINES, file)
        names = ("userId", "itemId", "orderId", "quantity")
        assert [tuple(record[name] for name in names) for record in records(chunks)] == expected
        assert [int(line) for chunk in chunks for line in chunk.lines] == [1, 1, 2]


def test_lists_in_lists_make_a_line_of_each_inner_value() -> None:
    recipe = '[items]\nid = "orders[].lines[].sku"\ngroupId = "orders[].id"\nbrand = "shop"\n'
    orders = [{"id": 1, "lines": [{"sku": "a"}, {"sku": "b"}]}, {"id": 2, "lines": []}, {"id": 3}]
    chunks = read(recipe, json_file({"shop": "x", "orders": orders}), Kind.ITEMS)
    assert records(chunks) == [
        {"id": "a", "groupId": "1", "brand": "x"},
        {"id": "b", "groupId": "1", "brand": "x"},
    ]


def test_an_event_with_an_empty_list_stays_a_line_and_an_item_is_left_out() -> None:
    file = json_file({**ORDER, "items": [{"sku": "tea", "count": 1}]}, {**ORDER, "items": []}, {**ORDER})
    assert column(read(LINES, file), "itemId") == ["tea", None, None]
    chunks = read('[items]\nid = "items[].sku"\n', file, Kind.ITEMS)
    assert (column(chunks, "id"), skipped(chunks)) == (["tea"], {"items[].sku": 2})


def test_rules_may_name_values_of_a_list() -> None:
    file = json_file({**ORDER, "items": [{"sku": "tea", "count": 1}, {"sku": "POST", "count": 1}]})
    chunks = read('skip = { "items[].sku" = "POST" }\n' + LINES, file)
    assert (column(chunks, "itemId"), skipped(chunks)) == (["tea"], {"items[].sku": 1})


def test_an_error_lists_few_and_short_names_on_one_line() -> None:
    names = [f"name {number}\n{'x' * 90}" for number in range(99)]
    with pytest.raises(WrongFile) as wrong:
        read(ITEMS, json_file(dict.fromkeys(names, 1)), Kind.ITEMS)
    assert len(str(wrong.value)) < 500
    assert "\n" not in str(wrong.value)


def test_a_name_with_a_dot_is_a_column_first_and_json_in_a_cell_is_read() -> None:
    recipe = '[items]\nid = "item.id"\ntitle = "more.title"\n'
    assert records(read(recipe, csv_file("item.id,more", 'a,"{""title"": ""Tea""}"'), Kind.ITEMS)) == [
        {"id": "a", "title": "Tea"}
    ]
    assert records(read(recipe, json_file({"item.id": "a", "more": {"title": "Tea"}}), Kind.ITEMS)) == [
        {"id": "a", "title": "Tea"}
    ]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("order_id", "reads the column 'order_id', which is in none of the first 3 lines; did you mean 'order.id'?"),
        ("order.nr", "'order.nr', which is in none of the first 3 lines; did you mean 'order.id'? there are: at, who"),
        ("items.sku", "did you mean 'items[].sku'?"),
        ("items[].sky", "did you mean 'items[].sku'?"),
    ],
)
def test_a_column_that_is_in_none_of_the_first_lines_is_refused_with_the_nearest(column: str, message: str) -> None:
    orders = [{**ORDER, "items": [{"sku": "tea"}]}] * 3
    recipe = LINES.replace('"order.id"', f'"{column}"').replace('quantity = "items[].count"', "")
    with pytest.raises(WrongFile) as wrong:
        read(recipe, json_file(*orders))
    assert message in str(wrong.value)
    with pytest.raises(WrongFile):
        read(recipe, parquet_file(orders))


def test_the_first_thousand_lines_show_which_columns_there_are() -> None:
    later = [{"id": str(number)} for number in range(1000)] + [{"id": "last", "title": "Tea"}]
    with pytest.raises(WrongFile, match=r"none of the first 1,000 lines.*optional = true"):
        read(f'{ITEMS}title = "title"\n', json_file(*later), Kind.ITEMS)
    assert read(f'{ITEMS}title = "title"\n', json_file(*later[1:]), Kind.ITEMS)
    chunks = read(f'{ITEMS}title = {{ column = "title", optional = true }}\n', json_file(*later), Kind.ITEMS)
    assert [title for title in column(chunks, "title") if title] == ["Tea"]


def test_an_optional_column_may_be_missing_in_a_table_too() -> None:
    recipe = f'{ITEMS}title = {{ column = "title", optional = true }}\n'
    assert records(read(recipe, csv_file("id", "a"), Kind.ITEMS)) == [{"id": "a"}]
    assert records(read(recipe, parquet_file([{"id": "a"}]), Kind.ITEMS)) == [{"id": "a"}]


def test_a_column_of_objects_or_lists_is_no_text() -> None:
    for value in ({"a": 1}, ["a"], [{"a": 1}]):
        for file in (json_file({"id": value}), parquet_file([{"id": value}])):
            with pytest.raises(WrongFile, match=r"id reads the column 'id', which holds (an object|a list); "):
                read(ITEMS, file, Kind.ITEMS)


def test_single_objects_lists_and_inexact_numbers_reject_their_line_alone() -> None:
    values = ["a", {"b": 1}, ["c"], 12345678901234567890123, 7, 7.0]
    chunks = read(ITEMS, json_file(*({"id": value} for value in values)), Kind.ITEMS)
    assert sorted(column(chunks, "id")) == ["7", "a"]
    assert rejects(chunks) == [(2, "id"), (3, "id"), (4, "id")]


def test_columns_that_may_hold_lists_and_objects_get_them() -> None:
    recipe = f'{ITEMS}categories = "path"\nattributes = "more"\n'
    chunks = read(recipe, json_file({"id": "a", "path": ["Tea > Hot", "Green"], "more": {"n": [1]}}), Kind.ITEMS)
    assert records(chunks) == [{"id": "a", "categories": ["Tea > Hot", "Green"], "attributes": {"n": [1]}}]
    chunks = read(f'{ITEMS}"attributes.tags" = "path"\n', json_file({"id": "a", "path": ["x", 2]}), Kind.ITEMS)
    assert records(chunks) == [{"id": "a", "attributes": {"tags": "x|2"}}]


@pytest.mark.parametrize(
    "rule",
    ['keep = { order = ".+" }', 'fill_down = { by = "items[].sku", columns = ["who"] }',
     'fill_down = { by = "who", columns = ["items"] }'],
)  # fmt: skip
def test_rules_need_a_text_in_each_line(rule: str) -> None:
    file = parquet_file([{**ORDER, "items": [{"sku": "tea", "count": 1}]}])
    with pytest.raises(WrongFile, match=r"holds objects or lists where the recipe needs a text"):
        read(f"{rule}\n{LINES}", file)


def test_values_of_two_lists_cannot_both_make_lines() -> None:
    with pytest.raises(WrongFile, match=r"'a\[\].id' and 'b\[\].id', which are in different lists"):
        read('[items]\nid = "a[].id"\ntitle = "b[].id"\n', json_file({"a": [{"id": 1}], "b": [{"id": 2}]}), Kind.ITEMS)


def test_a_list_that_the_file_does_not_have_is_named_with_the_nearest() -> None:
    order = {"lines": [{"sku": "a", "count": 1}]}
    recipe = '[items]\nid = "order.line[].sku"\ntitle = "order.lines[].count"\n'
    for file in (json_file({"order": order}), parquet_file([{"order": order}])):
        with pytest.raises(
            WrongFile, match=r"'order\.line\[\]\.sku', which is in none .* mean 'order\.lines\[\]\.sku'"
        ):
            read(recipe, file, Kind.ITEMS)


@pytest.mark.parametrize(
    ("cell", "values"),
    [("A1;A2;", ["A1", "A2"]), (" A3 ", ["A3"]), ("A1 , A2", ["A1", "A2"]), ("a b", ["a", "b"]), ("1|2", ["1", "2"]),
     ('"[""a b"", ""c""]"', ["a b", "c"])],
)  # fmt: skip
def test_each_reads_plain_lists(cell: str, values: list[str]) -> None:
    quoted = cell if cell.startswith('"') else f'"{cell}"'
    chunks = read('each = "ids"\n[items]\nid = "ids"\n', csv_file("n,ids", f"1,{quoted}", "2,"), Kind.ITEMS)
    assert sorted(column(chunks, "id")) == values
    assert skipped(chunks) == {"ids": 1}


@pytest.mark.parametrize(
    "cell",
    [
        "Green tea, Mug",
        "a;b|c",
        "2 x Hat, 1 x Tee",
        "<b>a</b>",
        "id:5|sku:T-1",
        '[{""sku"": ""a""}]',
        '{""sku"": ""a""}',
    ],
)
def test_each_refuses_objects_and_texts_that_are_no_plain_list(cell: str) -> None:
    with pytest.raises(WrongFile, match=r"the column 'ids' holds (objects|more than values)"):
        read('each = "ids"\n[items]\nid = "ids"\n', csv_file("ids,n", f'"{cell}",1'), Kind.ITEMS)


def test_each_refuses_lists_of_objects() -> None:
    for file in (json_file({"ids": [{"sku": "a"}]}), parquet_file([{"ids": [{"sku": "a"}]}])):
        with pytest.raises(WrongFile, match=r"holds objects; read a key of each, as in 'ids\[\].sku'"):
            read('each = "ids"\n[items]\nid = "ids"\n', file, Kind.ITEMS)


def test_a_separator_and_a_pattern_read_what_a_text_lists() -> None:
    recipe = """
        each = { column = "Product Name", separator = ", ", pattern = "(?P<count>[0-9]+) x (?P<name>.+)" }
        [events]
        type = { value = "PURCHASE" }
        occurredAt = "at"
        userId = "who"
        itemId = "Product Name.name"
        quantity = "Product Name.count"
    """
    moment = "2026-01-05T12:00:00Z"
    lines = (f'{moment},ann,"2 x Blue Shirt, 1 x Hat"', f'{moment},bob,"1 x Hat, Tee"', f"{moment},cem,")
    chunks = read(recipe, csv_file("at,who,Product Name", *lines))
    found = list(zip(column(chunks, "userId"), column(chunks, "itemId"), column(chunks, "quantity"), strict=True))
    assert found == [("ann", "Blue Shirt", "2"), ("ann", "Hat", "1")]
    assert (rejects(chunks), skipped(chunks)) == ([(3, "Product Name")], {"Product Name": 1})
    with pytest.raises(WrongFile, match=r"reads 'Product Name.nam', but the pattern of each names count, name"):
        read(recipe.replace("Name.name", "Name.nam"), csv_file("at,who,Product Name", *lines))


@pytest.mark.parametrize(
    ("each", "message"),
    [
        ('{ column = "a", pattern = "(?P<b>.+)" }', "each: has a pattern without a separator"),
        ('{ column = "a", separator = ";", pattern = ".+" }', "each.pattern: names no part"),
        ('{ column = "a", separator = ";*" }', "each.separator: must not match the empty text"),
        ('"a[]"', "each: names the list itself"),
    ],
)
def test_a_wrong_each_is_one_clear_error(each: str, message: str) -> None:
    with pytest.raises(WrongRecipe) as wrong:
        read(f'each = {each}\n[items]\nid = "a"\n', csv_file("a"), Kind.ITEMS)
    assert message in str(wrong.value)


def test_a_key_of_the_recipe_inside_a_section_is_sent_above_it() -> None:
    with pytest.raises(WrongRecipe, match="items: the key 'each' belongs above the sections"):
        read('[items]\nid = "a"\neach = "a"\n', csv_file("a"), Kind.ITEMS)


def test_two_columns_make_one_time() -> None:
    recipe = LINES.replace('"at"', '{ columns = ["day", "hour"], format = "%Y%m%d %H" }').replace("items[].", "")
    recipe = f'timezone = "UTC"\n{recipe}'.replace('orderId = "order.id"', "")
    chunks = read(recipe, csv_file("day,hour,who,sku,count", "20260105,9,ann,tea,1", "20260105,,bob,tea,1"))
    assert [moment and moment.hour for moment in column(chunks, "occurredAt")] == [9, None]


def test_the_first_column_with_a_value_counts() -> None:
    recipe = '[items]\nid = { first = ["sku", "name"] }\n'
    assert sorted(column(read(recipe, csv_file("sku,name", "a,Tea", ",Cup"), Kind.ITEMS), "id")) == ["Cup", "a"]


def test_a_chunk_ends_early_when_its_lines_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_lines, "ROOM", 1000)
    file = json_file(*({**ORDER, "items": [{"sku": "x" * 400, "count": 1}]} for _ in range(9)))
    chunks = read(LINES, file)
    assert [len(chunk.lines) for chunk in chunks] == [2, 2, 2, 2, 1]
