"""A trained model as one sealed folder: named, typed parts, and a manifest with the digest of each.

This module is the same for every kind of model. Each model defines its own parts.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from core.disks import disk_errors
from core.errors import PenchantError

FORMAT = 2
MANIFEST = "manifest.json"
WRITING, DELETING = ".writing-", ".deleting-"  # how the names of unfinished folders begin
RETRAIN = "train a new one with `penchant train`"


class BundleRefused(PenchantError):
    """A model bundle is not what its manifest says."""


class PartType(NamedTuple):
    """How one type of part is stored."""

    suffix: str
    save: Callable[[BinaryIO, Any], Any]
    load: Callable[[Path], Any]


def _save_array(file: BinaryIO, array: NDArray[Any]) -> None:
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def _map_array(path: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)  # slices of a memmap are slow
    return mapped


TYPES: Mapping[str, PartType] = {
    "array": PartType(".npy", _save_array, _map_array),
    "json": PartType(
        ".json",
        lambda file, value: file.write(json.dumps(value, ensure_ascii=False).encode()),
        lambda path: json.loads(path.read_text("utf-8")),
    ),
    "text": PartType(".txt", lambda file, text: file.write(text.encode()), lambda path: path.read_text("utf-8")),
}


class BundlePart(NamedTuple):
    """An entry of the manifest."""

    type: str  # of TYPES
    file: str
    sha256: str


class Reading:
    """A shared lock on a bundle, from its opening until nobody refers to this object: `delete_bundle` leaves it alone.

    Another machine must not pull the files away from under the arrays that are mapped here.
    """

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """The lock; None where there is no manifest or the file system knows no locks. Raises `BundleRefused`."""
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            reading = cls(descriptor := os.open(path / MANIFEST, os.O_RDONLY))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BundleRefused(f"bundle {path.name}: it is being deleted") from error
            except OSError:
                return None
            return reading
        return None


@dataclass(frozen=True, eq=False)
class Bundle:
    """An opened bundle. Arrays are memory-mapped, read-only, and shared between processes."""

    id: str
    kind: str
    created_at: datetime
    digest: str  # sha256 over the names, types and digests of all parts
    parts: Mapping[str, Any]
    reading: Reading | None  # keep it as long as the arrays are used

    @classmethod
    def open(cls, path: Path) -> Self:
        """Check every part against the manifest and load it. Raises `BundleRefused` naming what is wrong."""
        reading = Reading.of(path)
        manifest = _read_manifest(path)
        for part in manifest.parts.values():
            _check(path / part.file, part.sha256)
        try:
            loaded = {name: TYPES[part.type].load(path / part.file) for name, part in manifest.parts.items()}
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise BundleRefused(f"bundle {path.name}: {error}") from error
        parts = {**manifest.inline, **loaded}
        return cls(path.name, manifest.kind, manifest.created_at, manifest.digest, parts, reading)

    def array(self, name: str) -> NDArray[Any]:
        """An array. Raises `BundleRefused` when there is none of this name."""
        value: NDArray[Any] = self._part(name, np.ndarray)
        return value

    def json(self, name: str) -> Any:
        """A JSON object or list. Raises `BundleRefused` when there is none of this name."""
        return self._part(name, (dict, list))

    def object(self, name: str) -> dict[str, Any]:
        """A JSON object. Raises `BundleRefused` when there is none of this name."""
        value: dict[str, Any] = self._part(name, dict)
        return value

    def text(self, name: str) -> str:
        """A text. Raises `BundleRefused` when there is none of this name."""
        value: str = self._part(name, str)
        return value

    def _part(self, name: str, type: type | tuple[type, ...]) -> Any:
        if not isinstance(value := self.parts.get(name), type):
            raise BundleRefused(f"bundle {self.id}: its part {name!r} is missing or of another type")
        return value


def write(folder: Path, kind: str, parts: Mapping[str, Any], created_at: datetime) -> Path:
    """Write a bundle below `folder` and return its path, whose name is the bundle's id.

    A part is an array, a text, or a JSON object or list, by the type of its value. The bundle is complete or absent:
    files are written and synced under a temporary name, which is then renamed. Raises DiskFull.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=WRITING, dir=folder))
        try:
            saved = {name: _save(temporary, name, parts[name]) for name in sorted(parts)}
            return _seal(temporary, kind, saved, created_at)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def delete_bundle(path: Path) -> None:
    """Delete a bundle: at once it is not there any more, then its files go."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path.rename(path.with_name(f"{DELETING}{path.name}")), ignore_errors=True)


@contextmanager
def unread(path: Path) -> Iterator[bool]:
    """Whether nobody reads the bundle; while the block runs, nobody begins to."""
    try:
        descriptor = os.open(path / MANIFEST, os.O_RDONLY)
    except OSError:  # no bundle: nobody can open it
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:  # the file system knows no locks
            yield True
        else:
            yield True
    finally:
        os.close(descriptor)


def unfinished(folder: Path, before: float) -> list[Path]:
    """Folders that were half written or half deleted before a second, by a process that was killed."""
    return [path for path in _folders(folder) if _is_unfinished(path) and _changed(path) < before]


def bundles_in(folder: Path) -> list[Path]:
    """The complete bundles in a folder."""
    return [path for path in _folders(folder) if not _is_unfinished(path) and (path / MANIFEST).is_file()]


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith((WRITING, DELETING))


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return []


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _save(folder: Path, name: str, value: Any) -> BundlePart:
    type = "array" if isinstance(value, np.ndarray) else "text" if isinstance(value, str) else "json"
    file = folder / f"{name}{TYPES[type].suffix}"
    _write(file, lambda opened: TYPES[type].save(opened, value))
    return BundlePart(type, file.name, hashlib.sha256(file.read_bytes()).hexdigest())


def _seal(temporary: Path, kind: str, parts: Mapping[str, BundlePart], created_at: datetime) -> Path:
    """Add the manifest and rename the folder to its id.

    Where a bundle of the same second and content is there already, this one is of the second after it.
    """
    for file in temporary.iterdir():
        file.chmod(0o444)
    temporary.chmod(0o755)
    while True:
        path = temporary.parent / _write_manifest(temporary / MANIFEST, kind, parts, created_at)
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            (temporary / MANIFEST).unlink()
            created_at += timedelta(seconds=1)
        else:
            _sync(path.parent)
            return path


def _write_manifest(file: Path, kind: str, parts: Mapping[str, BundlePart], created_at: datetime) -> str:
    """Write it; returns the id in it."""
    id = _id(kind, created_at, _digest(parts))
    manifest = {
        "format": FORMAT,
        "id": id,
        "kind": kind,
        "created_at": created_at.isoformat(),
        "parts": {name: part._asdict() for name, part in parts.items()},
    }
    _write(file, lambda opened: opened.write(json.dumps(manifest, indent=2).encode()))
    file.chmod(0o444)
    return id


def _write(path: Path, save: Callable[[BinaryIO], Any]) -> None:
    with path.open("wb") as file:
        try:
            save(file)
        except OSError as error:
            if error.errno is None:  # NumPy's error when a disk takes a part of an array
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _id(kind: str, created_at: datetime, digest: str) -> str:
    return f"{kind}-{created_at:%Y%m%dT%H%M%S}-{digest[:10]}"


def _digest(parts: Mapping[str, BundlePart]) -> str:
    return _digest_of_lines(f"{name}:{':'.join(parts[name])}\n" for name in sorted(parts))


def _digest_of_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class _Manifest(NamedTuple):
    kind: str
    created_at: datetime
    parts: Mapping[str, BundlePart]
    digest: str
    inline: Mapping[str, Any]  # parts that format 1 kept in the manifest itself


def _read_manifest(path: Path) -> _Manifest:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BundleRefused(f"bundle {path.name}: no readable {MANIFEST} ({error})") from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise BundleRefused(f"bundle {path.name}: {MANIFEST} is incomplete")
    read = _FORMATS.get(str(manifest["format"]))
    if read is None:
        known = f"format {manifest['format']!r}, this version reads {' and '.join(_FORMATS)}"
        raise BundleRefused(f"bundle {path.name}: {known}: {RETRAIN}")
    try:
        found, id = read(manifest), manifest["id"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BundleRefused(f"bundle {path.name}: {MANIFEST} is incomplete ({error!r})") from error
    if path.name != id or id != _id(found.kind, found.created_at, found.digest):
        raise BundleRefused(f"bundle {path.name}: its manifest names {id!r} or lists other parts")
    return found


def _read_format_1(manifest: Mapping[str, Any]) -> _Manifest:
    """Only affinity models were written in this format; the names of their columns were in the manifest."""
    type_of = {type.suffix: name for name, type in TYPES.items()}
    files: Mapping[str, str] = manifest["files"]
    parts = {Path(file).stem: BundlePart(type_of[Path(file).suffix], file, files[file]) for file in files}
    digest = _digest_of_lines(f"{file}:{files[file]}\n" for file in sorted(files))
    names = {name: manifest[name] for name in ("features", "columns")}
    return _Manifest("affinity", datetime.fromisoformat(manifest["created_at"]), parts, digest, {"names": names})


def _read_format_2(manifest: Mapping[str, Any]) -> _Manifest:
    parts = {name: BundlePart(**part) for name, part in manifest["parts"].items()}
    return _Manifest(manifest["kind"], datetime.fromisoformat(manifest["created_at"]), parts, _digest(parts), inline={})


_FORMATS: Mapping[str, Callable[[Mapping[str, Any]], _Manifest]] = {"1": _read_format_1, str(FORMAT): _read_format_2}


def _check(file: Path, digest: str) -> None:
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleRefused(f"bundle {file.parent.name}: {file.name} cannot be read ({error.strerror})") from error
    if found != digest:
        raise BundleRefused(f"bundle {file.parent.name}: the content of {file.name} was changed")
