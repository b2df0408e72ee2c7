"""The log of Online Retail II in the form that training takes, from the folder named by `PENCHANT_DATA`."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml.log import Log
from ml.words import ItemText, ItemWords

CUT = int(datetime(2011, 9, 10, tzinfo=UTC).timestamp())
FILE = "online-retail-ii/transactions.parquet"


def retail_log() -> Log:
    """The invoice lines of known customers about products, with their times in the shop's clock.

    Returns are left out: the file has none of its second year. So are postage, fees and corrections of the stock. The
    file holds a missing customer as a number, too: every customer's is five digits.
    """
    lines = pq.read_table(Path(os.environ.get("PENCHANT_DATA", "../shared/data")) / FILE)
    code = lines["StockCode"].cast(pa.string())
    customer = pc.cast(lines["CustomerID"], pa.int64())
    wanted = [
        pc.match_substring_regex(code, "^[0-9]{5}"),
        pc.greater(lines["UnitPrice"], 0.0),
        pc.greater(lines["Quantity"], 0),
        pc.fill_null(pc.and_(pc.greater_equal(customer, 10_000), pc.less(customer, 100_000)), False),
    ]
    kept = wanted[0]
    for mask in wanted[1:]:
        kept = pc.and_(kept, mask)
    lines, code, customer = (column.filter(kept) for column in (lines, code, customer))
    people, person = _dense(customer)
    item_ids, item = _dense(code)
    _, order = _dense(lines["InvoiceNo"].cast(pa.string()))
    quantity = lines["Quantity"].to_numpy()
    said = dict(zip(code.to_pylist(), lines["Description"].to_pylist(), strict=True))
    return Log.of(
        people=[f"user:{name}" for name in people],
        person=person.astype(np.int32),
        item=(item + 1).astype(np.uint32),
        occurred=lines["InvoiceDate"].cast(pa.timestamp("s"), safe=False).cast(pa.int64()).to_numpy(),
        cents=np.round(lines["UnitPrice"].to_numpy() * quantity * 100).astype(np.int64),
        order=order,
        numbers=np.arange(1, len(item_ids) + 1, dtype=np.uint32),
        item_ids=item_ids,
        quantity=quantity.astype(np.int32),
        words=ItemWords.of({number: ItemText(said[id]) for number, id in enumerate(item_ids, 1)}),
    )


def _dense(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct values as text, and the place of each line's value among them."""
    encoded = column.combine_chunks().dictionary_encode()
    return [str(value) for value in encoded.dictionary.to_pylist()], encoded.indices.to_numpy().astype(np.int64)
