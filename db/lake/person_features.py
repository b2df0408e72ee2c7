"""Features of people from the lake, by DuckDB: the text that Postgres runs, over the exported files."""

from collections.abc import Callable, Mapping
from glob import escape
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from core.errors import InvalidInput
from db.lake.days import paths_of, read_contents
from db.lake.location import Lake

_OFFLINE: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
CATEGORIES: Final = "SELECT item_id, category FROM item_categories"
FACTS: Final = """
    SELECT CASE WHEN owner IS NULL THEN 'guest:' || anonymous_id ELSE 'user:' || owner END AS person,
        type, item_id, order_id, session_id, epoch_us(occurred_at) AS micros,
        epoch_us(occurred_at) // 1000000 AS second,
        CAST(coalesce(quantity, 1) AS BIGINT) AS units,
        CAST((CASE WHEN type = 'RATING' THEN coalesce(CAST(value * 10000 AS HUGEINT), 0)
                   ELSE coalesce(CAST(unit_price * 10000 AS HUGEINT) * coalesce(quantity, 1),
                                 CAST(value * 10000 AS HUGEINT), 0) END + 50) // 100 AS BIGINT) AS cents
    FROM (
        SELECT events.*, coalesce(merged.into_id, events.user_id, joined.user_id) AS owner
        FROM read_parquet($files) AS events
            LEFT JOIN joined ON joined.anonymous_id = events.anonymous_id
            LEFT JOIN merged ON merged.user_id = events.user_id
    ) AS owned WHERE item_id IS NOT NULL AND epoch_us(occurred_at) // 1000000 < {as_of}
"""


def run_on_lake(
    lake: Lake,
    query: str,
    use: Callable[[Any], None],
    *,
    categories: Mapping[str, str],
    joined: Mapping[str, str],
    merged: Mapping[str, str],
) -> None:
    """Give DuckDB's result of a query over all exported days to `use`.

    `joined` gives the user of a guest, `merged` the user of an old user id, as for trainings. Raises InvalidInput
    without DuckDB or without an exported day, StoreUnavailable when the lake cannot be read.
    """
    try:
        import duckdb
    except ImportError:
        raise InvalidInput("Reading the lake needs the package duckdb (penchant[lake]).") from None
    contents = read_contents(lake)
    paths = paths_of(lake, list(contents.days.values()))
    if not paths:
        raise InvalidInput("The lake has no day yet: `penchant export events` writes them.", "lake")
    with lake.translated(), duckdb.connect(config=_OFFLINE) as engine:
        if not isinstance(lake.files, LocalFileSystem):
            engine.register_filesystem(lake.files)  # DuckDB's own client would download an extension
            paths = [escape(lake.files.unstrip_protocol(path)) for path in paths]  # DuckDB reads paths as patterns
        for name, pairs, columns in (
            ("item_categories", categories, ("item_id", "category")),
            ("joined", joined, ("anonymous_id", "user_id")),
            ("merged", merged, ("user_id", "into_id")),
        ):
            texts = zip(columns, (list(pairs), list(pairs.values())), strict=True)
            engine.register(name, pa.table({column: pa.array(values, pa.string()) for column, values in texts}))
        use(engine.sql(query, params={"files": list(paths)}))


def csv_at(path: Path) -> Callable[[Any], None]:
    """Writes a result as a CSV file with a header."""
    return lambda result: result.write_csv(str(path), header=True)
