"""Unpacks a compressed file by its content: gzip, bzip2, xz, Zstandard, or a zip archive of one file.

It is unpacked while it is read; what it would unpack to is never held.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from cli.loading.chunks import WrongFile
from cli.loading.columns import listed

_BUFFER: Final = 1 << 20  # bytes
_NO_DATA: Final = {"__MACOSX", ".DS_Store"}
_PACKED: Final[dict[bytes, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda raw: pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"),
    b"PK\x03\x04": lambda raw: _only_file(raw),
}
DAMAGED: Final = (EOFError, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)
"""What reading a damaged file raises, beside OSError."""


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is compressed."""
    return any(start.startswith(magic) for magic in _PACKED)


def unpacked(opened: ExitStack, raw: BinaryIO) -> io.BufferedReader:
    """The content of the file. Raises WrongFile for an archive that does not hold one file."""
    start = raw.read(8)
    raw.seek(0)
    unpack = next((unpack for magic, unpack in _PACKED.items() if start.startswith(magic)), None)
    if unpack is None:
        return cast("io.BufferedReader", raw)
    stream = opened.enter_context(io.BufferedReader(unpack(raw), _BUFFER))
    if is_packed(stream.peek(8)[:8]):
        raise WrongFile("it is compressed twice; unpack it once")
    return stream


def _only_file(raw: BinaryIO) -> Any:
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile:
        raise WrongFile("it is a damaged zip archive or Excel sheet") from None
    files = [
        each
        for each in archive.infolist()
        if not each.is_dir() and not _NO_DATA & {*PurePosixPath(each.filename).parts}
    ]
    names = [each.filename for each in files]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise WrongFile("it is an Excel sheet or another office document; export it as CSV")
    if len(files) != 1:
        raise WrongFile(f"the archive holds {len(names)} files ({listed(names)}); unpack it and load them one by one")
    try:
        return archive.open(files[0])
    except (RuntimeError, NotImplementedError) as error:
        raise WrongFile(f"the archive cannot be unpacked here: {error}; unpack it first") from None
