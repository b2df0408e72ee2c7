"""Opens a file by its content: Parquet, CSV or JSON lines, plain or compressed."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, cast
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cli.loading.chunks import CHUNK, Chunk, WrongFile
from cli.loading.columns import Kind
from cli.loading.csv_files import csv_chunks, header_of
from cli.loading.json_lines import json_chunks, recipe_chunks
from cli.loading.merging import merged_by_id
from cli.loading.recipes import Recipe
from cli.loading.shapes import ByName, ByRecipe, Shape, with_synthetic_times
from cli.loading.unquoted_lines import is_unquoted, names_of, unquoted_chunks

_ENDS = 1 << 20  # bytes at each end of a file that identify it, together with its size
_COMPRESSED: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_OTHER_FORMATS = {
    b"PK\x03\x04": "it is a zip archive or an Excel sheet; unpack it or export it as CSV",
    b"\xd0\xcf\x11\xe0": "it is an old Excel sheet; export it as CSV",
    b"ORC": "it is an ORC file; export it as Parquet",
    b"%PDF": "it is a PDF",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a file; a value of None is found in the file."""

    zone: ZoneInfo | None = None
    encoding: str = "utf-8-sig"
    delimiter: str | None = None
    recipe: Recipe | None = None


def fingerprint(path: Path) -> str:
    """A digest of the size and both ends of the file: equal for a copy, different for a longer file."""
    size = path.stat().st_size
    digest = blake2b(size.to_bytes(8, "little"), digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(_ENDS))
        file.seek(max(0, size - _ENDS))
        digest.update(file.read(_ENDS))
    return digest.hexdigest()


@contextmanager
def chunks_of(path: Path, kind: Kind, reading: Reading, moved: timedelta = timedelta()) -> Iterator[Iterator[Chunk]]:
    """The chunks of the file, their times moved by `moved` if a recipe is followed.

    Raises WrongFile saying what is wrong with the file, here or while the chunks are read.
    """
    with ExitStack() as opened:
        try:
            raw = opened.enter_context(path.open("rb"))
        except OSError as error:
            raise WrongFile(f"it cannot be read: {error.strerror}") from None
        yield _checked(lambda: _shaped(opened, raw, path, kind, reading, moved))


def _checked(open_chunks: Callable[[], Iterator[Chunk]]) -> Iterator[Chunk]:
    try:
        yield from open_chunks()
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise WrongFile(f"its compression is damaged: {error}") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise WrongFile(f"it is damaged: {error}") from None


def _shaped(
    opened: ExitStack, raw: BinaryIO, path: Path, kind: Kind, reading: Reading, moved: timedelta
) -> Iterator[Chunk]:
    if reading.recipe is None:
        return _chunks(opened, raw, path, reading, ByName(kind, reading.zone))

    def read(shape: ByRecipe) -> Iterator[Chunk]:
        return _chunks(opened, raw, path, reading, shape)

    chunks = read(with_synthetic_times(ByRecipe(kind, reading.recipe, reading.zone, moved), read))
    return merged_by_id(chunks, CHUNK) if kind == Kind.ITEMS else chunks


def _chunks(
    opened: ExitStack, raw: BinaryIO, path: Path, reading: Reading, shape: ByName | ByRecipe
) -> Iterator[Chunk]:
    raw.seek(0)
    head = raw.read(8)
    raw.seek(0)
    if head[:4] == b"PAR1":
        return _parquet(raw, shape)
    stream = _unpacked(opened, raw, head)
    start = stream.peek(4096)[:4096]
    _refuse_other_formats(start, path)
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return _json(cast("BinaryIO", stream), raw, shape)
    return _text(opened, cast("BinaryIO", stream), raw, reading, shape)


def _unpacked(opened: ExitStack, raw: BinaryIO, head: bytes) -> io.BufferedReader:
    unpack = next((unpack for magic, unpack in _COMPRESSED.items() if head.startswith(magic)), None)
    if unpack is None:
        return cast("io.BufferedReader", raw)
    return opened.enter_context(io.BufferedReader(cast("io.RawIOBase", unpack(raw)), 1 << 20))


def _refuse_other_formats(start: bytes, path: Path) -> None:
    for magic, advice in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise WrongFile(advice)
    if not start.strip():
        raise WrongFile("it is empty")
    if start.lstrip().startswith(b"["):
        raise WrongFile("it is one JSON array; write one object a line (JSON lines)")
    if b"\x00" in start.partition(b"\n")[0] and start[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise WrongFile("it is neither Parquet, CSV nor JSON lines")
    if path.suffix in {".parquet", ".pq"}:
        raise WrongFile("it is named like Parquet but is not")


def _json(stream: BinaryIO, raw: BinaryIO, shape: ByName | ByRecipe) -> Iterator[Chunk]:
    if isinstance(shape, ByRecipe):
        return recipe_chunks(stream, sorted(shape.used), shape, raw.tell)
    return json_chunks(stream, shape, raw.tell)


def _text(opened: ExitStack, stream: BinaryIO, raw: BinaryIO, reading: Reading, shape: Shape) -> Iterator[Chunk]:
    text = opened.enter_context(io.TextIOWrapper(stream, reading.encoding, errors="surrogateescape", newline=""))
    names = list(reading.recipe.columns or ()) if reading.recipe else []
    delimiter, first_line = reading.delimiter, 1 if names else 2
    if delimiter is not None and is_unquoted(delimiter):
        names = names or names_of(text.readline(), delimiter)
        return unquoted_chunks(text, names, delimiter, shape, raw.tell, first_line)
    if not names:
        names, delimiter = header_of(text, delimiter)
    return csv_chunks(text, names, delimiter or ",", shape, raw.tell, first_line)


def _parquet(raw: BinaryIO, shape: Shape) -> Iterator[Chunk]:
    file = pq.ParquetFile(raw)
    wanted = shape.wanted(file.schema_arrow.names)
    total, rows = file.metadata.num_rows, 0
    size = raw.seek(0, io.SEEK_END)
    for batch in file.iter_batches(shape.size, columns=wanted, use_threads=False):
        lines = np.arange(rows + 1, rows + batch.num_rows + 1, dtype=np.int64)
        rows += batch.num_rows
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        yield shape.chunk(lines, columns, [], size * rows // max(total, 1))
