"""Sets a wrong line of an item aside before lines are merged, so that it cannot spoil the good ones."""

from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import TIME, Chunk, Reject
from cli.loading.column_checks import AMOUNT
from cli.loading.columns import IDS, SPREAD, Kind
from cli.loading.patches import BOOLEANS, id_in, item_of
from cli.loading.typed_columns import recorder
from core import clock
from core.contract import AHEAD, LONGEST_ID
from core.currencies import CURRENCIES
from core.errors import InvalidInput

# Stricter than the contract, which has the last word on every other line.
_ID: Final = rf"^[^\x00-\x1f\x{{7f}}-\x{{9f}}]{{1,{LONGEST_ID}}}$"
_TEXT: Final = r"^[^\x00]{0,1000}$"
_LINK: Final = r"^https?://[^\x00-\x20\x{7f}\\]{1,900}$"
_SHORT: Final = r"^[^\x00]{0,200}$"  # of one attribute
_PATTERNS: Final = {
    **dict.fromkeys(IDS, _ID), **dict.fromkeys(("title", "brand", "description"), _TEXT),
    **dict.fromkeys(("price", "listPrice"), AMOUNT), **dict.fromkeys(("url", "image", "imageUrl"), _LINK),
}  # fmt: skip


def without_wrong_items(chunk: Chunk) -> Chunk:
    """The chunk without lines that the contract refuses; they become rejects."""
    doubtful = np.flatnonzero(~_surely_good(chunk, clock.now()))
    rejects: list[Reject] = []
    wrong: list[int] = []
    for place in doubtful.tolist():
        record = chunk.record(place)
        try:
            item_of(record)
        except InvalidInput as error:
            rejects.append(Reject(int(chunk.lines[place]), error.field, str(error), id_in(record)))
            wrong.append(place)
    if not wrong:
        return chunk
    good = np.ones(len(chunk.lines), bool)
    good[wrong] = False
    mask = pa.array(good)
    columns = {name: column.filter(mask) for name, column in chunk.columns.items()}
    return Chunk(
        chunk.lines[good], columns, recorder(columns, chunk.cleared), chunk.rejects + rejects, chunk.read,
        chunk.skipped, chunk.last_line, chunk.rounded, chunk.cleared,
    )  # fmt: skip


def _surely_good(chunk: Chunk, now: datetime) -> NDArray[np.bool_]:
    passed = chunk.columns["id"].is_valid()
    for name, column in chunk.columns.items():
        passed = pc.and_(passed, _verdict(name, column, now))
    return np.asarray(passed.to_numpy(zero_copy_only=False), bool)


def _verdict(name: str, column: pa.Array, now: datetime) -> pa.Array:
    """Which values are absent or surely good."""
    if name in _PATTERNS:
        good = pc.match_substring_regex(column, _PATTERNS[name])
    elif name == "currency":
        good = pc.is_in(column, pa.array(sorted(CURRENCIES)))
    elif name == "available":
        good = pc.is_in(pc.utf8_lower(column), pa.array(sorted(BOOLEANS)))
    elif name == "updatedAt":
        good = pc.less_equal(column, pa.scalar(now + AHEAD, TIME))
    elif name.startswith(SPREAD[Kind.ITEMS]) and pa.types.is_string(column.type):
        good = pc.match_substring_regex(column, _SHORT)
    else:
        good = pc.is_null(column)
    return pc.or_(pc.is_null(column), pc.fill_null(good, False))
