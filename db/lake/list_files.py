"""A file of many people's lists at any fsspec address, as Parquet or JSON lines: written, then renamed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import StoreUnavailable
from db.lake.location import Lake, discard, finish
from db.lake.parts import HashingFile
from db.list_jobs import Format

ROWS_AT_ONCE: Final = 5_000

SCHEMA: Final = pa.schema(
    [
        pa.field("userId", pa.string(), nullable=False),
        pa.field("placement", pa.string(), nullable=False),
        pa.field("modelVersion", pa.string()),
        pa.field("asOf", pa.timestamp("s", "UTC"), nullable=False),
        pa.field("degraded", pa.list_(pa.string()), nullable=False),
        pa.field(
            "items",
            pa.list_(
                pa.struct(
                    [
                        pa.field("id", pa.string(), nullable=False),
                        pa.field("rank", pa.int32(), nullable=False),
                        pa.field("score", pa.float64(), nullable=False),
                        pa.field("reason", pa.string(), nullable=False),
                        pa.field("reasonItemId", pa.string(), nullable=False),
                    ]
                )
            ),
            nullable=False,
        ),
    ]
)


class ListFile:
    """The file while it is written: it gets its name at the end of a `with` block that raised nothing."""

    def __init__(self, folder: Lake, name: str, format: Format) -> None:
        self._folder, self._name = folder, name
        self._temporary, self._file = folder.create("")
        self._parquet = None if format == "jsonl" else pq.ParquetWriter(HashingFile(self._file), SCHEMA)
        self._waiting: list[Mapping[str, Any]] = []

    @classmethod
    def at(cls, url: str, format: Format) -> Self:
        """A new file for this address. Raises InvalidInput for the address, PlaceRefused, StoreUnavailable."""
        return cls(*Lake.of_file(url), format)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._complete()
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Leave no file, as far as the storage lets us: the first error is the cause."""
        with suppress(Exception):
            try:
                if self._parquet is not None:
                    self._parquet.close()
            finally:
                discard(self._file)
        with suppress(StoreUnavailable):
            self._folder.remove([self._temporary])

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a list, `UserList.as_json`. Raises StoreUnavailable."""
        self._waiting.append(row)
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        rows, self._waiting = self._waiting, []
        with self._folder.translated(writes=True):
            if self._parquet is not None:
                self._parquet.write_table(pa.Table.from_pylist(_columns(rows), SCHEMA))
            else:
                self._file.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))

    def _complete(self) -> None:
        if self._waiting:
            self._write()
        with self._folder.translated(writes=True):
            if self._parquet is not None:
                self._parquet.close()
            finish(self._file)
        self._folder.name(self._temporary, self._name)


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [dict(row) for row in rows]
