"""Recipes fill blank cells from the line above, and join the orders of a file of order lines."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.loading import joined_files, shapes
from cli.loading.chunks import WrongFile
from cli.loading.columns import Kind
from cli.loading.recipes import WrongRecipe
from tests.reading import column, read, records, rejects, skipped

pytestmark = pytest.mark.usefixtures("folder")
DOWN = """
fill_down = { by = "order", columns = ["who", "status"] }
keep = { status = "paid" }
[events]
type = { value = "PURCHASE" }
occurredAt = "at"
userId = "who"
itemId = "sku"
"""
JOINED = """
join = { file = "orders.csv", on = { order = "id" } }
keep = { "join.status" = "paid" }
[events]
type = { value = "PURCHASE" }
occurredAt = "join.at"
userId = "join.customer.id"
itemId = "sku"
orderId = "order"
"""
AT = "2026-01-05T12:00:00Z"


def file_of(*lines: str, name: str = "lines.csv") -> Path:
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return Path(name)


def grouped(*lines: str) -> Path:
    """Lines of order, status, person and item."""
    return file_of("at,order,status,who,sku", *(f"{AT},{line}" for line in lines))


def orders(*lines: str) -> Path:
    return file_of("id,status,at,customer.id", *lines, name="orders.csv")


@pytest.mark.parametrize("size", [25_000, 2, 1])
def test_blank_cells_have_the_value_above_within_one_key_and_across_chunks(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "CHUNK", size)
    file = grouped("1,paid,ann,a", "1,,,b", "1,,,c", "2,open,bob,d", "2,,,e", "3,,,f", "4,paid,,g", "4,,cem,h", "1,,,i")
    chunks = read(DOWN, file)
    found = list(zip(column(chunks, "itemId"), column(chunks, "userId"), strict=True))
    assert found == [("a", "ann"), ("b", "ann"), ("c", "ann"), ("g", None), ("h", "cem")]
    assert sum(chunk.skipped.get("status", 0) for chunk in chunks) == 4  # d, e, f, i


def test_a_blank_key_is_no_key_unless_it_is_filled_too() -> None:
    lines = ("1,paid,ann,a", ",,,b", "2,paid,bob,c", ",,,d")
    assert column(read(DOWN, grouped(*lines)), "itemId") == ["a", "c"]
    merged = DOWN.replace('["who"', '["order", "who"')
    chunks = read(merged, grouped(*lines))
    assert column(chunks, "userId") == ["ann", "ann", "bob", "bob"]


def test_blank_cells_are_filled_in_every_format() -> None:
    lines = [{"at": AT, "order": 1, "status": "paid", "who": 17, "sku": "a"},
             {"at": AT, "order": 1, "status": None, "who": None, "sku": "b"}]  # fmt: skip
    Path("lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pq.write_table(pa.Table.from_pylist(lines), "lines.parquet")
    for name in ("lines.jsonl", "lines.parquet"):
        assert column(read(DOWN, Path(name)), "userId") == ["17", "17"]


def test_filling_starts_anew_when_a_file_is_read_twice() -> None:
    recipe = 'clock = "none"\ncut = 2026-01-05T12:00:00Z\n' + DOWN.replace('occurredAt = "at"', "")
    chunks = read(recipe, grouped("1,,,a", "1,paid,ann,b"))
    assert (column(chunks, "itemId"), skipped(chunks)) == (["b"], {"status": 1})


def test_a_column_to_fill_must_exist() -> None:
    with pytest.raises(WrongFile, match=r"reads the column 'state', which is not in the file; did you mean 'status'?"):
        read(DOWN.replace('"status"]', '"state"]'), grouped("1,paid,ann,a"))


def test_lines_get_the_columns_of_their_order() -> None:
    orders(f"1,paid,{AT},ann", f"2,open,{AT},bob", f"4,paid,{AT},dan")
    chunks = read(JOINED, file_of("order,sku", "1,tea", "2,cup", "3,pot", ",jug", "4,can", "1,cup"))
    found = [(record["orderId"], record["itemId"], record["userId"]) for record in records(chunks)]
    assert found == [("1", "tea", "ann"), ("4", "can", "dan"), ("1", "cup", "ann")]
    assert [reject[:2] for reject in rejects(chunks)] == [(4, "order"), (5, "order")]
    assert chunks[0].rejects[0].reason == "order is in no line of orders.csv"
    assert skipped(chunks) == {"join.status": 1}


def test_the_joined_file_may_have_another_format_and_one_name_for_the_key() -> None:
    recipe = JOINED.replace("orders.csv", "orders.jsonl").replace('{ order = "id" }', '"order"')
    order = {"order": 1.0, "status": "paid", "at": AT, "customer": {"id": 17}}
    Path("orders.jsonl").write_text(json.dumps(order) + "\n")
    assert column(read(recipe, file_of("order,sku", "1,tea")), "userId") == ["17"]


def test_the_joined_file_is_looked_for_beside_the_file_and_then_beside_the_recipe(tmp_path: Path) -> None:
    for name in ("data", "recipes"):
        (tmp_path / name).mkdir()
    lines = file_of("order,sku", "1,tea", name="data/lines.csv")
    (tmp_path / "recipes" / "shop.toml").write_text(JOINED)
    orders(f"1,paid,{AT},recipe").rename("recipes/orders.csv")
    assert column(read(Path("recipes/shop.toml"), lines), "userId") == ["recipe"]
    orders(f"1,paid,{AT},file").rename("data/orders.csv")
    assert column(read(Path("recipes/shop.toml"), lines), "userId") == ["file"]


def test_a_key_is_one_in_both_files_however_a_program_wrote_it() -> None:
    orders("1.0,paid,2026-01-05T12:00:00Z,ann", "nan,paid,2026-01-05T12:00:00Z,bob", "3,paid,2026-01-05T12:00:00Z,cem")
    chunks = read(JOINED, file_of("order,sku", "1,a", "3.0,b", "nan,c", "null,d"))
    assert list(zip(column(chunks, "userId"), column(chunks, "itemId"), strict=True)) == [("ann", "a"), ("cem", "b")]
    assert rejects(chunks) == [(4, "order"), (5, "order")]


def test_a_joined_file_without_lines_rejects_every_line() -> None:
    orders()
    chunks = read(JOINED, file_of("order,sku", "1,tea"))
    assert (records(chunks), rejects(chunks)) == ([], [(2, "order")])


def test_a_wrong_joined_file_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = file_of("order,sku", "1,tea")
    with pytest.raises(WrongFile, match=r"the joined file orders.csv: it cannot be read: No such file"):
        read(JOINED, lines)
    orders(f"1,paid,{AT},ann", f"1,paid,{AT},bob")
    with pytest.raises(WrongFile, match=r"the joined file orders.csv: two of its lines have the same 'id'"):
        read(JOINED, lines)
    orders(f"1,paid,{AT},ann")
    with pytest.raises(WrongFile, match=r"the joined file orders.csv: .*'state', .* did you mean 'status'?"):
        read(JOINED.replace("join.status", "join.state"), lines)
    monkeypatch.setattr(joined_files, "MOST_LINES", 1)
    orders(f"1,paid,{AT},ann", f"2,paid,{AT},bob")
    with pytest.raises(WrongFile, match=r"the joined file orders.csv: it has more than 1 lines"):
        read(JOINED, lines)


def test_a_section_that_reads_nothing_of_the_joined_file_does_not_need_it() -> None:
    recipe = JOINED.replace('keep = { "join.status" = "paid" }', "") + '[items]\nid = "sku"\n'
    assert column(read(recipe, file_of("order,sku", "1,tea"), Kind.ITEMS), "id") == ["tea"]


def test_a_join_names_one_key() -> None:
    with pytest.raises(WrongRecipe, match=r"join: on names one column"):
        read(JOINED.replace('{ order = "id" }', '{ a = "b", c = "d" }'), file_of("order,sku"))
