"""The holdout of a training, from a file: purchases after the cut, to evaluate by and never to learn from."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import Chunk, WrongFile
from cli.loading.columns import Kind
from cli.loading.files import Reading, chunks_of
from core.errors import InvalidInput
from ml.log import Log

_COLUMNS = ("userId", "anonymousId", "type", "itemId", "orderId")


def with_holdout(log: Log, file: Path) -> tuple[Log, int]:
    """The log before the file's first purchase, followed by the file's purchases; and that moment, the cut, in seconds.

    Purchases by people or of items that the log does not know cannot be predicted and are left out. Raises
    InvalidInput when the file cannot be read or holds no purchase.
    """
    try:
        with chunks_of(file, Kind.EVENTS, Reading()) as chunks:
            tables = [_purchases(_checked(chunk, file)) for chunk in chunks]
    except (WrongFile, pa.ArrowInvalid) as error:
        raise InvalidInput(f"{file}: {error}", "holdout") from error
    lines = pa.concat_tables(tables) if tables else None
    if lines is None or not lines.num_rows:
        raise InvalidInput(f"{file}: there is no purchase in it", "holdout")
    cut = int(pc.min(lines["occurred"]).as_py())
    past = log.between(None, cut)
    columns = _columns(lines, log)
    together = {
        name: np.concatenate([getattr(past, name), column.astype(getattr(past, name).dtype)])
        for name, column in columns.items()
    }
    return (
        Log.of(people=log.people, numbers=log.numbers, item_ids=log.item_ids, category=log.category, **together),
        cut,
    )


def _checked(chunk: Chunk, file: Path) -> Chunk:
    """The chunk; raises InvalidInput when a line cannot be read: an evaluation leaves out nothing in silence."""
    if chunk.rejects:
        wrong = chunk.rejects[0]
        raise InvalidInput(f"{file}: line {wrong.line}: {wrong.reason}", "holdout")
    return chunk


def _purchases(chunk: Chunk) -> pa.Table:
    """The chunk's purchases: columns of text, and `occurred` in seconds."""
    count = len(chunk.lines)
    columns = {name: pa.array(chunk.columns.get(name, pa.nulls(count)), pa.string()) for name in _COLUMNS}
    occurred = chunk.columns["occurredAt"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    table = pa.table({**columns, "occurred": pc.divide(occurred, 1_000_000)})
    return table.filter(pc.and_(pc.equal(table["type"], "PURCHASE"), pc.is_valid(table["occurred"])))


def _columns(lines: pa.Table, log: Log) -> dict[str, Any]:
    """The lines about known people and items as columns of the log; their orders are numbered after the log's."""
    guest = pc.binary_join_element_wise("guest:", lines["anonymousId"], "")
    names = pc.coalesce(pc.binary_join_element_wise("user:", lines["userId"], ""), guest)
    person = pc.index_in(names, pa.array(log.people, pa.string()))
    place = pc.index_in(lines["itemId"], pa.array(log.item_ids, pa.string()))
    known = pc.and_(pc.is_valid(person), pc.is_valid(place))
    lines, person, place = lines.filter(known), person.filter(known), place.filter(known)
    moments = pc.binary_join_element_wise("at ", pc.cast(lines["occurred"], pa.string()), "")
    orders = pc.binary_join_element_wise(names.filter(known), pc.coalesce(lines["orderId"], moments), "\n")
    after = int(log.order.max(initial=-1)) + 1
    return {
        "person": person.to_numpy(),
        "item": log.numbers[place.to_numpy()],
        "occurred": lines["occurred"].to_numpy(),
        "cents": np.zeros(lines.num_rows, np.int64),  # evaluation does not use prices
        "order": after + np.unique(orders.to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1],
    }
