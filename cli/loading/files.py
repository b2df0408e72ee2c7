"""Opens a file by its content: Parquet, CSV, JSON or XML, plain or compressed."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, TextIO
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cli.loading.bounded_lines import lines_of
from cli.loading.chunks import CHUNK, Chunk, WrongFile
from cli.loading.columns import Kind
from cli.loading.containers import DAMAGED, unpacked
from cli.loading.csv_files import csv_chunks, header_of
from cli.loading.encodings import FOUND, encoding_of
from cli.loading.joined_files import JoinedColumns, JoinedFile
from cli.loading.json_documents import objects_of
from cli.loading.json_lines import json_chunks, recipe_chunks, record_chunks
from cli.loading.merging import merged_by_id
from cli.loading.recipes import Recipe
from cli.loading.shapes import ByName, ByRecipe, Shape, with_synthetic_times
from cli.loading.unquoted_lines import is_unquoted, names_of, unquoted_chunks
from cli.loading.wrong_headers import check_header
from cli.loading.xml_feeds import items_of

_ENDS = 1 << 20  # bytes at each end of a file that identify it, together with its size
_START: Final = 4096  # bytes that show what a file holds
_SEPARATOR: Final = re.compile(r'\ufeff?"?sep=(.)"?\r?\n?', re.IGNORECASE)  # a first line that Excel understands
_OTHER_FORMATS = {
    b"\xd0\xcf\x11\xe0": "it is an old Excel sheet; export it as CSV",
    b"ORC": "it is an ORC file; export it as Parquet",
    b"%PDF": "it is a PDF",
}

AnyShape = ByName | ByRecipe | JoinedColumns


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a file; a value of None is found in the file."""

    zone: ZoneInfo | None = None
    encoding: str = FOUND
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
        raw = _opened(opened, path)
        yield _checked(lambda: _shaped(opened, raw, path, kind, reading, moved))


def _opened(opened: ExitStack, path: Path) -> BinaryIO:
    try:
        return opened.enter_context(path.open("rb"))
    except OSError as error:
        raise WrongFile(f"it cannot be read: {error.strerror}") from None


def _checked(open_chunks: Callable[[], Iterator[Chunk]]) -> Iterator[Chunk]:
    try:
        yield from open_chunks()
    except DAMAGED as error:
        raise WrongFile(f"its compression is damaged: {error}") from None
    except UnicodeError as error:
        raise WrongFile(
            f"it is not text in its encoding: {error.reason if isinstance(error, UnicodeDecodeError) else error}"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise WrongFile(f"it is damaged: {error}") from None


def _shaped(
    opened: ExitStack, raw: BinaryIO, path: Path, kind: Kind, reading: Reading, moved: timedelta
) -> Iterator[Chunk]:
    if reading.recipe is None:
        return _chunks(opened, raw, path, reading, ByName(kind, reading.zone))

    def read(shape: ByRecipe) -> Iterator[Chunk]:
        return _chunks(opened, raw, path, reading, shape)

    shape = ByRecipe(kind, reading.recipe, reading.zone, moved)
    shape = replace(shape, joined=_joined(opened, path, shape))
    chunks = read(with_synthetic_times(shape, read))
    return merged_by_id(chunks, CHUNK) if kind == Kind.ITEMS else chunks


def _joined(opened: ExitStack, path: Path, shape: ByRecipe) -> JoinedFile | None:
    """The file with more columns of each line, if the recipe reads any of them."""
    file, join = shape.recipe.joined_file(path), shape.reads.join
    if file is None or join is None:
        return None
    columns = JoinedColumns(shape.reads.joined, shape.reads.joined_optional)
    try:
        raw = _opened(opened, file)
        chunks = _checked(lambda: _chunks(opened, raw, file, Reading(), columns))
        return JoinedFile(join.file, join.keys[1], shape.reads.joined, chunks)
    except WrongFile as error:
        raise WrongFile(f"the joined file {join.file}: {error}") from None


def _chunks(opened: ExitStack, raw: BinaryIO, path: Path, reading: Reading, shape: AnyShape) -> Iterator[Chunk]:
    raw.seek(0)
    if raw.read(4) == b"PAR1":
        return _parquet(raw, shape)
    raw.seek(0)
    stream = unpacked(opened, raw)
    start = stream.peek(_START)[:_START]
    _refuse_other_formats(start, path)
    encoding = encoding_of(start, reading.encoding)
    letters = start.decode(encoding, "ignore").lstrip("\ufeff \r\n\t")
    if not letters:
        raise WrongFile("it is empty")
    if letters.startswith("<"):
        return _xml(stream, raw, letters, shape)
    if letters.startswith(("{", "[")):
        return _json(opened, stream, raw, encoding, letters, shape)
    if "\x00" in letters.partition("\n")[0]:
        raise WrongFile("it is neither Parquet, CSV nor JSON lines")
    return _text(_text_of(opened, stream, encoding), raw, reading, shape)


def _refuse_other_formats(start: bytes, path: Path) -> None:
    for magic, advice in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise WrongFile(advice)
    if not start.strip():
        raise WrongFile("it is empty")
    if start[257:262] == b"ustar":
        raise WrongFile("it is a tar archive; unpack it and load its files one by one")
    if start.startswith(b"PAR1"):
        raise WrongFile("it is a compressed Parquet file; unpack it")
    if path.suffix in {".parquet", ".pq"}:
        raise WrongFile("it is named like Parquet but is not")


def _xml(stream: BinaryIO, raw: BinaryIO, letters: str, shape: AnyShape) -> Iterator[Chunk]:
    if letters[:1000].lower().startswith(("<html", "<!doctype html")):
        raise WrongFile("it is a web page, perhaps of a failed download")
    if isinstance(shape, ByName):
        raise WrongFile("it is an XML feed, which needs a recipe; docs/recipes/google-merchant.toml is one")
    element = shape.recipe.element if isinstance(shape, ByRecipe) else None
    return record_chunks(items_of(stream, element), shape, raw.tell)


def _json(
    opened: ExitStack, stream: BinaryIO, raw: BinaryIO, encoding: str, letters: str, shape: AnyShape
) -> Iterator[Chunk]:
    lines = _json_lines(opened, stream, encoding, letters)
    if isinstance(shape, ByName):
        return json_chunks(lines, shape, raw.tell)
    return recipe_chunks(lines, shape, raw.tell)


def _json_lines(opened: ExitStack, stream: BinaryIO, encoding: str, letters: str) -> Iterator[bytes]:
    """The JSON text of each object; of JSON lines it is the line."""
    first, end, _ = letters.partition("\n")
    if first.startswith("[") or first.strip() == "{":
        return objects_of(_text_of(opened, stream, encoding))
    if encoding == FOUND and (end or "\r" not in first):
        lines = lines_of(stream)
        return chain([next(lines, b"").removeprefix(b"\xef\xbb\xbf")], lines)
    return (line.encode("utf-8", "surrogateescape") for line in lines_of(_text_of(opened, stream, encoding)))


def _text_of(opened: ExitStack, stream: BinaryIO, encoding: str) -> TextIO:
    return opened.enter_context(io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline=""))


def _text(text: TextIO, raw: BinaryIO, reading: Reading, shape: Shape) -> Iterator[Chunk]:
    lines = lines_of(text)
    names = list(reading.recipe.columns or ()) if reading.recipe else []
    delimiter, before = reading.delimiter, 0
    first = next(lines, "").removeprefix("\ufeff")
    if separator := _SEPARATOR.fullmatch(first):
        delimiter, before = delimiter or separator[1], 1
    else:
        lines = chain([first], lines)
    if delimiter is not None and is_unquoted(delimiter):
        before += not names
        names = names or names_of(next(lines, ""), delimiter)
        return unquoted_chunks(lines, names, delimiter, shape, raw.tell, before + 1)
    if not names:
        named = delimiter
        names, delimiter, read = header_of(lines, delimiter)
        before += read
        check_header(names, shape, lines, named, before)
    return csv_chunks(lines, names, delimiter or ",", shape, raw.tell, before + 1)


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
