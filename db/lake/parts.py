"""The files of a day: Parquet, written by row groups, named by a digest of the contents."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from db.lake.days import Part, folder_of
from db.lake.location import Lake, discard, finish

ROWS_OF_GROUP: Final = 131_072
ROWS_OF_PART: Final = 32 * ROWS_OF_GROUP

_TIME: Final = pa.timestamp("us", "UTC")
_MONEY: Final = pa.decimal128(14, 4)
SCHEMA: Final = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("occurred_at", _TIME, nullable=False),
        pa.field("received_at", _TIME),
        pa.field("type", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("anonymous_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("item_ids", pa.list_(pa.string())),
        pa.field("order_id", pa.string()),
        pa.field("quantity", pa.int32()),
        pa.field("unit_price", _MONEY),
        pa.field("currency", pa.string()),
        pa.field("value", _MONEY),
        pa.field("query", pa.string()),
        pa.field("impression_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("properties", pa.string()),  # JSON
        pa.field("digest", pa.int64(), nullable=False),
    ]
)
SCHEMA_ID: Final = sha256(str(SCHEMA).encode()).hexdigest()[:16]


def open_part(file: Any, columns: Iterable[str] = SCHEMA.names) -> pq.ParquetFile:
    """A part with these columns as we write them. Raises pyarrow's errors: use it inside `Lake.translated`."""
    parquet = pq.ParquetFile(file)
    types = {field.name: field.type for field in parquet.schema_arrow}
    if any(types.get(name) != SCHEMA.field(name).type for name in columns):
        raise pa.ArrowInvalid("Its columns are not those of this release.")
    return parquet


@dataclass(slots=True)
class HashingFile:
    """A file being written, with its digest and length so far."""

    file: Any
    digest: Any = field(default_factory=sha256)
    length: int = 0

    def write(self, data: Any) -> int:
        """Write the data."""
        view = memoryview(data)
        self.digest.update(view)
        self.length += view.nbytes
        self.file.write(view)
        return view.nbytes

    def tell(self) -> int:
        """The length so far."""
        return self.length

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """The caller who opened the file closes it."""

    @property
    def closed(self) -> bool:
        """False: the writer of Parquet never closes it."""
        return False


class PartWriter:
    """Writes rows in their final order, from pieces of any size; the same rows always make the same files."""

    def __init__(self, lake: Lake, day: date, layer: int) -> None:
        self._lake, self._folder, self._layer = lake, folder_of(day), layer
        self._waiting: pa.Table = SCHEMA.empty_table()
        self._open: tuple[str, HashingFile, Any] | None = None
        self._rows = 0
        self._parts: list[Part] = []

    def add(self, rows: pa.Table) -> None:
        """Write the row groups that are full. Raises StoreUnavailable."""
        self._waiting = pa.concat_tables([self._waiting, rows])
        while len(self._waiting) >= ROWS_OF_GROUP:
            self._write(self._waiting.slice(0, ROWS_OF_GROUP))
            self._waiting = self._waiting.slice(ROWS_OF_GROUP)

    def finish(self) -> list[Part]:
        """Write the rest; returns the files under their names. Raises StoreUnavailable."""
        if len(self._waiting):
            self._write(self._waiting)
        self._close()
        return self._parts

    def abandon(self) -> None:
        """Close the open file without a name: the next export removes it."""
        if self._open is not None:
            file, self._open = self._open[1].file, None
            with self._lake.translated():
                discard(file)

    def _write(self, group: pa.Table) -> None:
        if self._open is None:
            temporary, file = self._lake.create(self._folder)
            counted = HashingFile(file)
            self._open = temporary, counted, pq.ParquetWriter(counted, SCHEMA, compression="zstd")
        with self._lake.translated():
            self._open[2].write_table(group.combine_chunks(), ROWS_OF_GROUP)
        self._rows += len(group)
        if self._rows >= ROWS_OF_PART:
            self._close()

    def _close(self) -> None:
        if self._open is None:
            return
        temporary, counted, parquet = self._open
        with self._lake.translated():
            parquet.close()
            finish(counted.file)
        digest = counted.digest.hexdigest()
        name = f"part-{self._layer}-{len(self._parts):04}-{digest[:16]}.parquet"
        self._lake.name(temporary, f"{self._folder}/{name}")
        self._parts.append(Part(name, self._rows, counted.length, digest, self._layer))
        self._open, self._rows = None, 0
