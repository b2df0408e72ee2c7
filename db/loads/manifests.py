"""The manifest of a load: Parquet files with the keys of every event that it stored or found known.

A file is written before the events of its lines are committed. So a manifest may name events that were never stored; it
never lacks one that was. The manifest of items has their ids, and those that a complete file left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from db.lake.event_keys import KEYS
from db.lake.location import Lake

FOLDER: Final = "loads/v1"  # below the address, beside the lake's events
_PART: Final = re.compile(r"part-[0-9]{12}-[0-9a-f]{16}\.parquet")
_LEFT_OUT: Final = re.compile(r"left-out-[0-9]{12}\.parquet")
IDS: Final = pa.schema([("id", pa.string())])


def encoded(rows: pa.Table) -> bytes:
    """The rows, of KEYS or of IDS, as a file; the same rows always make the same bytes."""
    sink = BytesIO()
    dictionary = ["source"] if "source" in rows.column_names else False
    pq.write_table(rows, sink, compression="lz4", use_dictionary=dictionary, write_statistics=False)
    return sink.getvalue()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one load, at an address that fsspec knows."""

    place: Lake
    id: str

    @classmethod
    def at(cls, url: str, id: str) -> Self:
        """The manifest of a load, below this address. Raises InvalidInput for an address that cannot be opened."""
        return cls(Lake.at(url, FOLDER), id)

    @property
    def url(self) -> str:
        """The folder with its files."""
        return f"{self.place.url}/{FOLDER}/{self._folder}"

    def add(self, first_line: int, content: bytes) -> None:
        """Write a file of some lines; a file of the same rows is replaced. Raises StoreUnavailable."""
        name = f"part-{first_line:012}-{blake2b(content, digest_size=8).hexdigest()}.parquet"
        self.place.write(self._folder, name, content)

    def add_left_out(self, number: int, content: bytes) -> None:
        """Write a file of the items that the loaded file left out. Raises StoreUnavailable."""
        self.place.write(self._folder, f"left-out-{number:012}.parquet", content)

    def parts(self) -> list[str]:
        """The names of its files, in the order of the lines. Raises StoreUnavailable."""
        return self._names(_PART)

    def read(self, part: str, schema: pa.Schema = KEYS) -> pa.Table:
        """The rows of one file. Raises StoreUnavailable."""
        path = f"{self._folder}/{part}"
        content = self.place.read([path])[path]
        with self.place.translated():
            return pq.read_table(pa.BufferReader(content)).select(schema.names).cast(schema)

    def rows(self, schema: pa.Schema = KEYS) -> Iterator[pa.Table]:
        """The rows, file by file. Raises StoreUnavailable."""
        return (self.read(part, schema) for part in self.parts())

    def left_out(self) -> Iterator[pa.Table]:
        """The ids of the items that the loaded file left out. Raises StoreUnavailable."""
        return (self.read(name, IDS) for name in self._names(_LEFT_OUT))

    def remove(self) -> None:
        """Remove every file. Raises StoreUnavailable."""
        self.place.remove(self.place.sizes(self._folder))

    def _names(self, pattern: re.Pattern[str]) -> list[str]:
        names = (path.rpartition("/")[2] for path in self.place.sizes(self._folder))
        return sorted(name for name in names if pattern.fullmatch(name))

    @property
    def _folder(self) -> str:
        return f"load={self.id}"
