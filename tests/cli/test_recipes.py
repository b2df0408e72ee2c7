"""`penchant load --recipe` reads foreign files as the recipe says: columns, values, times, one event or many a line."""

import json
import lzma
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.loading.chunks import WrongFile
from cli.loading.columns import Kind
from cli.loading.recipes import WrongRecipe, read_recipe
from db.postgres import Pool
from tests.commands import invoke
from tests.reading import RECIPES, column, read, records, rejects, skipped

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
SHOP = """
timezone = "UTC"
[events]
type = { value = "PURCHASE" }
occurredAt = { column = "when", format = "%d/%m/%Y %H:%M" }
userId = "who"
itemId = "what"
"""
pytestmark = pytest.mark.usefixtures("folder")
HEADER = "when,who,what,count,price"
LINE = "05/01/2026 12:00,ann,tea,2,2.50"


def text_file(*lines: str, name: str = "log.csv", header: str | None = HEADER) -> Path:
    path = Path(name)
    path.write_text("".join(f"{line}\n" for line in ([header] if header else []) + list(lines)))
    return path


def invoices() -> Path:
    """Lines as in Online Retail II, oldest first."""
    morning = datetime(2010, 7, 1, 9, 30)  # noqa: DTZ001  # the file names no zone
    lines: list[tuple[str, str, str | None, int, datetime, float, int | None]] = [
        ("489434", "85048", "CHRISTMAS GLASS BALL", 12, morning, 6.95, 13085),
        ("489434", "POST", "POSTAGE", 1, morning, 18.0, 13085),
        ("489435", "85048", "CHRISTMAS GLASS BALL 20 LIGHTS", 1, morning + timedelta(days=1), 7.1, None),
        ("489436", "79323P", "PINK CHERRY LIGHTS", 3, morning + timedelta(days=2), 6.75, 13086),
        ("489437", "79323P", "damaged", -3, morning + timedelta(days=3), 0.0, None),
        ("C489438", "79323P ", None, -2, morning + timedelta(days=4), 6.5, 13086),
    ]
    names = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
    columns = [pa.array(values) for values in zip(*lines, strict=True)]
    columns[1], columns[4] = columns[1].dictionary_encode(), columns[4].cast(pa.timestamp("ms"))
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), "transactions.parquet")
    return Path("transactions.parquet")


def test_online_retail_has_purchases_and_returns_with_quantities_and_lines_without_a_person_are_counted() -> None:
    chunks = read(RECIPES / "online-retail-ii.toml", invoices())
    assert records(chunks)[0] == {
        "type": "PURCHASE", "occurredAt": datetime(2010, 7, 1, 8, 30, tzinfo=UTC), "userId": "13085",
        "itemId": "85048", "orderId": "489434", "quantity": "12", "unitPrice": "6.95", "currency": "GBP",
    }  # fmt: skip
    assert list(zip(column(chunks, "type"), column(chunks, "itemId"), column(chunks, "quantity"), strict=True))[1:] == [
        ("PURCHASE", "79323P", "3"),
        ("RETURN", "79323P", "2"),
    ]
    assert skipped(chunks) == {"StockCode": 1, "UnitPrice": 1, "CustomerID": 1}
    assert [list(chunk.lines) for chunk in chunks] == [[1, 4, 6]]


def test_online_retail_items_have_the_title_and_price_of_their_last_lines() -> None:
    chunks = read(RECIPES / "online-retail-ii.toml", invoices(), Kind.ITEMS)
    items = {record.pop("id"): record for record in records(chunks)}
    assert {id: (item["title"], item["price"], item["currency"]) for id, item in items.items()} == {
        "85048": ("CHRISTMAS GLASS BALL 20 LIGHTS", "7.1", "GBP"),
        "79323P": ("PINK CHERRY LIGHTS", "6.5", "GBP"),
    }
    assert items["79323P"]["updatedAt"] == datetime(2010, 7, 5, 8, 30, tzinfo=UTC)


def test_movielens_sequences_films_and_people_are_read_in_their_order() -> None:
    pq.write_table(pa.table({"user": [1, 1, 2, 1], "pos": [0, 1, 0, 2], "item": [7, 3, 7, 9]}), "sequences.parquet")
    films = {"item": [1], "movie_id": [1198], "title": ["Raiders (1981)"], "genres": ["Action|Adventure"]}
    pq.write_table(pa.table(films), "items.parquet")
    people = {"user": [1], "gender": ["M"], "age": ["25"], "occupation": ["15"]}
    pq.write_table(pa.table(people), "users.parquet")
    recipe, cut = RECIPES / "movielens-1m.toml", datetime(2003, 3, 1, tzinfo=UTC)
    watched = records(read(recipe, Path("sequences.parquet")))
    assert [(each["userId"], each["itemId"], (cut - each["occurredAt"]).total_seconds() / 60) for each in watched] == [
        ("1", "7", 3), ("1", "3", 2), ("2", "7", 1), ("1", "9", 1),
    ]  # fmt: skip
    (film,) = records(read(recipe, Path("items.parquet"), Kind.ITEMS))
    assert film == {"id": "1", "title": "Raiders (1981)", "categories": ["Action", "Adventure"]}
    (person,) = records(read(recipe, Path("users.parquet"), Kind.USERS))
    assert person == {"id": "1", "traits": {"gender": "M", "age": "25", "occupation": "15"}}


def test_beauty_lines_become_an_event_for_each_item_and_an_item_for_each_id() -> None:
    Path("Beauty.txt.xz").write_bytes(lzma.compress(b"1 1 2 3\n2 6 2 \n"))
    recipe, cut = RECIPES / "amazon-beauty.toml", datetime(2014, 7, 24, tzinfo=UTC)
    bought = read(recipe, Path("Beauty.txt.xz"))
    assert list(zip(column(bought, "userId"), column(bought, "itemId"), strict=True)) == [
        ("1", "1"), ("1", "2"), ("1", "3"), ("2", "6"), ("2", "2"),
    ]  # fmt: skip
    assert [list(chunk.lines) for chunk in bought] == [[1, 1, 1, 2, 2]]
    assert column(bought, "occurredAt") == [cut - timedelta(minutes=minutes) for minutes in (3, 2, 1, 2, 1)]
    assert sorted(column(read(recipe, Path("Beauty.txt.xz"), Kind.ITEMS), "id")) == ["1", "2", "3", "6"]


def test_cdnow_columns_padded_with_blanks_become_orders_of_one_item() -> None:
    lines = [
        " 00001 19970101  1   11.77 ",
        "",
        " 00002 19970230  5   77.00 ",
        " 00002 19970112  5",
        " 00003 19970102  2   20.76 ",
    ]
    file = text_file(*lines, name="CDNOW_master.txt", header=" customer_id  date number_of_cds  dollar_value")
    chunks = read(RECIPES / "cdnow.toml", file)
    assert records(chunks) == [
        {"type": "PURCHASE", "occurredAt": datetime(1997, 1, day, 5, tzinfo=UTC), "userId": user, "itemId": "cd",
         "quantity": count, "value": value, "currency": "USD"}
        for day, user, count, value in ((1, "00001", "1", "11.77"), (2, "00003", "2", "20.76"))
    ]  # fmt: skip
    assert sorted(rejects(chunks)) == [(4, "occurredAt"), (5, None)]
    assert records(read(RECIPES / "cdnow.toml", file, Kind.ITEMS)) == [{"id": "cd", "title": "Compact disc"}]


@pytest.mark.parametrize(
    ("format", "text", "moment"),
    [
        ("%d/%m/%Y %H:%M", "5/1/2026 12:00", NOON),
        ("%Y-%m-%d", "2026-01-05", NOON - timedelta(hours=12)),
        ("%Y-%m-%d %H:%M:%S %z", "2026-01-05 14:00:00 +02:00", NOON),
        ("%d/%m/%Y %H:%M", "29/02/2024 12:00", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("seconds", "1767614400", NOON),
        ("seconds", "1767614400.25", NOON + timedelta(seconds=0.25)),
        ("milliseconds", "1767614400000", NOON),
        ("%d/%m/%Y %H:%M", "29/02/2026 12:00", None),
        ("%d/%m/%Y %H:%M", "31/04/2026 12:00", None),
        ("%d/%m/%Y %H:%M", "05/01/2026", None),
        ("%d/%m/%Y %H:%M", "05/01/2026 12:00 or so", None),
        ("seconds", "soon", None),
        ("seconds", "99999999999999999999", None),
    ],
)
def test_times_are_read_in_their_format_and_days_that_do_not_exist_are_rejected(
    format: str, text: str, moment: datetime | None
) -> None:
    chunks = read(SHOP.replace("%d/%m/%Y %H:%M", format), text_file(LINE.replace("05/01/2026 12:00", text)))
    assert column(chunks, "occurredAt") == ([moment] if moment else [])
    assert rejects(chunks) == ([] if moment else [(2, "occurredAt")])


def test_local_times_follow_the_zone_through_the_year() -> None:
    file = text_file(LINE, LINE.replace("/01/", "/07/"))
    hours = [each.hour for each in column(read(SHOP.replace("UTC", "Europe/Berlin"), file), "occurredAt")]
    assert hours == [11, 10]


@pytest.mark.parametrize(
    ("decimal", "text", "plain"),
    [
        (",", "1.234,50", "1234.5"),
        (",", "1 234,5", "1234.5"),
        (",", "7", "7"),
        (".", "1,234.5", "1234.5"),
        (".", "10", "10"),
    ],
)
def test_amounts_are_read_as_people_write_them(decimal: str, text: str, plain: str) -> None:
    recipe = f'decimal = "{decimal}"\ndelimiter = ";"\n{SHOP}unitPrice = "price"\n'
    file = text_file(LINE.replace(",", ";").replace("2.50", text), header=HEADER.replace(",", ";"))
    assert column(read(recipe, file), "unitPrice") == [plain]


def test_values_are_mapped_by_the_first_pattern_that_fits_the_whole_text() -> None:
    recipe = SHOP.replace(
        '{ value = "PURCHASE" }',
        '{ column = "price", map = { buy = "PURCHASE", "(?i)view.*" = "VIEW", "" = "CLICK" } }',
    )
    words = ("buy", "Viewed it", "", "buyer")
    file = text_file(*(LINE.replace("2.50", word) for word in words))
    assert column(read(recipe, file), "type") == ["PURCHASE", "VIEW", "CLICK", "buyer"]
    otherwise = recipe.replace(', "" = "CLICK" }', ' }, otherwise = "CLICK"')
    assert column(read(otherwise, file), "type") == ["PURCHASE", "VIEW", "CLICK", "CLICK"]


def test_rules_of_recipe_and_section_leave_lines_out_and_count_them_once() -> None:
    recipe = f'skip = {{ what = "POST|FEE" }}\n{SHOP}keep = {{ who = ".+" }}\n'
    lines = (
        LINE,
        LINE.replace("tea", "POST").replace("ann", ""),
        LINE.replace("tea", "POSTCARD"),
        LINE.replace("ann", ""),
    )
    chunks = read(recipe, text_file(*lines))
    assert column(chunks, "itemId") == ["tea", "POSTCARD"]
    assert skipped(chunks) == {"what": 1, "who": 1}
    assert chunks[-1].last_line == 5  # left out, but read


def test_a_log_is_moved_by_whole_weeks_and_not_beyond_now() -> None:
    recipe = f'shift = "cut"\ncut = 2026-01-06T00:00:00Z\n{SHOP}'
    Path("recipe.toml").write_text(recipe)
    now = datetime(2031, 5, 7, 9, tzinfo=UTC)
    moved = read_recipe(Path("recipe.toml"), Kind.EVENTS).moved(now)
    (moment,) = column(read(recipe, text_file(LINE), moved=moved), "occurredAt")
    assert moment.weekday() == NOON.weekday()
    assert (moment.hour, moment.minute) == (12, 0)
    assert timedelta(hours=12) < now - moment <= timedelta(days=7, hours=12)


def test_a_recipe_names_the_columns_of_a_file_without_a_header() -> None:
    recipe = f'columns = ["when", "who", "what", "count", "price"]\n{SHOP}'
    chunks = read(recipe, text_file(LINE, "too,few", LINE.replace("ann", "bob"), header=None))
    assert column(chunks, "userId") == ["ann", "bob"]
    assert ([int(line) for chunk in chunks for line in chunk.lines], rejects(chunks)) == ([1, 3], [(2, None)])


def test_longer_delimiters_separate_values_without_quotes() -> None:
    recipe = f'delimiter = "::"\ncolumns = ["who", "what", "stars", "when"]\n{SHOP}'.replace(
        "%d/%m/%Y %H:%M", "seconds"
    )
    chunks = read(recipe, text_file('1::11"93::5::1767614400', name="ratings.dat", header=None))
    assert (column(chunks, "itemId"), column(chunks, "occurredAt")) == (['11"93'], [NOON])


def test_bytes_that_are_not_text_reject_only_their_unquoted_line() -> None:
    recipe = f'delimiter = "::"\ncolumns = ["who", "what", "when"]\n{SHOP}'.replace("%d/%m/%Y %H:%M", "seconds")
    Path("log.dat").write_bytes("Zoë::1::1767614400\nann::1::1767614400\n".encode("latin-1"))
    chunks = read(recipe, Path("log.dat"))
    assert (column(chunks, "userId"), rejects(chunks)) == (["ann"], [(1, None)])
    assert column(read(f'encoding = "latin-1"\n{recipe}', Path("log.dat")), "userId") == ["Zoë", "ann"]


def test_json_lines_are_read_by_a_recipe_too() -> None:
    lines = [
        {"when": 1767614400, "who": 17, "what": ["tea", "cup"], "paid": True},
        {"when": 1767614400, "who": None, "what": [], "extra": {"a": 1}},
        {"when": 1767614400, "who": "ann", "what": "pot"},
    ]
    Path("log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = f'each = "what"\n{SHOP}'.replace("%d/%m/%Y %H:%M", "seconds")
    chunks = read(recipe, Path("log.jsonl"))
    assert list(zip(column(chunks, "userId"), column(chunks, "itemId"), strict=True)) == [
        ("17", "tea"), ("17", "cup"), ("ann", "pot"),
    ]  # fmt: skip


def test_values_of_parquet_are_read_as_people_would_write_them() -> None:
    day = date(2026, 1, 5)
    table = {"when": [day, day], "who": [17850.0, None], "what": [["a", "b"], ["c"]], "price": [0.1 + 0.2, 2.0]}
    pq.write_table(pa.table({**table, "price": pa.array(table["price"], pa.float32())}), "log.parquet")
    recipe = SHOP.replace('{ column = "when", format = "%d/%m/%Y %H:%M" }', '"when"')
    chunks = read(f'each = "what"\n{recipe}unitPrice = "price"\n', Path("log.parquet"))
    assert column(chunks, "userId") == ["17850", "17850", None]
    assert column(chunks, "itemId") == ["a", "b", "c"]
    assert column(chunks, "unitPrice") == ["0.3", "0.3", "2"]
    assert column(chunks, "occurredAt") == [NOON - timedelta(hours=12)] * 3


def test_an_item_has_the_newest_value_that_a_line_gives_for_each_column() -> None:
    recipe = """
        timezone = "UTC"
        [items]
        id = "what"
        title = "who"
        price = "price"
        updatedAt = { column = "when", format = "%d/%m/%Y %H:%M" }
    """
    newest_first = [
        LINE,
        LINE.replace("05/", "04/").replace("ann", "old").replace("2.50", ""),
        LINE.replace("05/", "03/"),
    ]
    newest_first[0] = newest_first[0].replace("2.50", "")
    (item,) = records(read(recipe, text_file(*newest_first, LINE.replace("05/", "nope")), Kind.ITEMS))
    assert item == {"id": "tea", "title": "ann", "price": "2.50", "updatedAt": NOON}


def test_guests_and_users_with_the_same_id_get_synthetic_times_of_their_own() -> None:
    recipe = SHOP.replace('occurredAt = { column = "when", format = "%d/%m/%Y %H:%M" }', 'anonymousId = "count"')
    file = text_file(LINE, LINE.replace("ann", "").replace(",2,", ",ann,"), LINE)
    chunks = read(f'clock = "none"\ncut = 2026-01-05T12:00:00Z\n{recipe}', file)
    minutes = [(NOON - moment).total_seconds() / 60 for moment in column(chunks, "occurredAt")]
    assert minutes == [2, 1, 1]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("[events", "it is not TOML"),
        ("", "it has no section [events]"),
        (f"colour = 1\n{SHOP}", "the key 'colour' is not known"),
        (SHOP + 'quantity = { colum = "count" }', "the key 'events.quantity.colum' is not known"),
        (SHOP + 'user_id = "who"', "[events]: the column 'user_id' is not known for events; did you mean 'userId'?"),
        (SHOP.replace('itemId = "what"', "itemId = {}"), "events.itemId: needs either a column"),
        (SHOP.replace('userId = "who"', ""), "'userId' or 'anonymousId' is missing"),
        (f'shift = "cut"\n{SHOP}', "need a cut"),
        (f'shift = "now"\n{SHOP}', "line 1: shift: must be 'none' or 'cut'"),
        (f'decimal = ";"\n{SHOP}', "line 1: decimal: must be '.' or ','"),
        (f'decmal = ","\n{SHOP}', "line 1: the key 'decmal' is not known; did you mean 'decimal'?"),
        (f"{SHOP}[items\n", "line 8: it is not TOML: Expected ']'"),
        (
            SHOP + 'quantity = { column = "count", absolute = "no way" }',
            "line 8: events.quantity.absolute: must be true",
        ),
        (SHOP + "quantity = 5", "line 8: events.quantity: must be a table, as in"),
        (f'missing = "nan"\n{SHOP}', "line 1: missing: must be a list, as in"),
        (SHOP + 'qqqqqq = "count"', "the column 'qqqqqq' is not known for events; known are: anonymousId"),
        (f'clock = "none"\ncut = 2026-01-05T12:00:00Z\n{SHOP}', "has an occurredAt"),
        (f"cut = 2026-01-05T12:00:00\n{SHOP}", "line 1: cut: must name its offset, as in 2011-12-10T00:00:00Z"),
        (SHOP.replace("UTC", "Europe/Atlantis"), "timezone: there is no time zone 'Europe/Atlantis'"),
        (SHOP.replace("%d/%m/%Y %H:%M", "dd/mm/yyyy"), "events.occurredAt.format: is made as in"),
        (SHOP + 'keep = { who = "(" }', "events.keep.who: '(' is not a regular expression"),
        (SHOP + 'quantity = { column = "count", otherwise = "1" }', "events.quantity: has an otherwise without a map"),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(recipe: str, message: str) -> None:
    with pytest.raises(WrongRecipe) as wrong:
        read(recipe, text_file(LINE))
    assert message in str(wrong.value)
    assert str(wrong.value).startswith("recipe.toml: ")


def test_a_column_that_the_file_does_not_have_is_named() -> None:
    with pytest.raises(WrongFile, match=r"reads the column 'count', which is not in the file; there are: when, who"):
        read(f'{SHOP}quantity = "count"', text_file(LINE, header=HEADER.replace("count", "n")))


def test_a_time_without_a_format_is_moved_too() -> None:
    recipe = SHOP.replace('{ column = "when", format = "%d/%m/%Y %H:%M" }', '"when"')
    file = text_file(LINE.replace("05/01/2026 12:00", "2026-01-05 12:00"))
    assert column(read(recipe, file, moved=timedelta(weeks=1)), "occurredAt") == [NOON + timedelta(weeks=1)]


def test_items_of_a_log_are_stored_once(pool: Pool, database: str) -> None:
    Path("recipe.toml").write_text('[items]\nid = "what"\ntitle = "who"\n')
    file = text_file(LINE, LINE.replace("ann", "bob"), LINE.replace("tea", ""))
    result = invoke("load", "items", file, "--recipe", "recipe.toml", "--json")
    counts = json.loads(result.stdout)
    assert (result.exit_code, counts["stored"], counts["duplicate"], counts["rejected"]) == (1, 1, 0, 1)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT id, title FROM items").fetchall() == [("tea", "bob")]


def test_a_wrong_recipe_ends_with_the_exit_code_of_a_wrong_command() -> None:
    Path("recipe.toml").write_text(f"colour = 1\n{SHOP}")
    result = invoke("load", "events", text_file(LINE), "--recipe", "recipe.toml")
    assert (result.exit_code, result.stderr) == (
        2,
        "penchant: recipe.toml: line 1: the key 'colour' is not known; known are: clock, columns, cut, decimal,"
        " delimiter, each, element, empty, encoding, events, fill_down, items, join, keep, missing, shift, skip,"
        " timezone, users\n",
    )


def test_every_recipe_of_the_guide_can_be_read() -> None:
    guide = (RECIPES.parent / "loading.md").read_text()
    for example in guide.split("```toml\n")[1:]:
        Path("recipe.toml").write_text(example.partition("```")[0])
        for kind in Kind:
            if f"[{kind}]" in example.partition("```")[0]:
                assert read_recipe(Path("recipe.toml"), kind).section(kind)
