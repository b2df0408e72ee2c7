"""The location of the lake: any address fsspec supports. Its errors are our own and show no secret."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import uuid4

from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.spec import AbstractBufferedFile

from core.disks import FULL, REFUSED
from core.errors import InvalidInput, PenchantError, PlaceRefused, StoreUnavailable

EVENTS: Final = "events/v1"
TEMPORARY: Final = "_tmp-"  # readers of whole folders pass over names that begin with an underscore


@dataclass(frozen=True, slots=True)
class Lake:
    """The events' folder at an address; a path inside it is relative to `root`."""

    url: str
    files: Any  # an fsspec filesystem
    root: str
    called: str = "The lake"  # in errors

    @classmethod
    def at(cls, url: str, folder: str = EVENTS) -> Self:
        """The lake at this address; nothing is opened yet. Raises InvalidInput for an address that cannot be opened.

        `folder` is where its files are below the address: the events', unless another is named.
        """
        files, path = _opened(url)
        return cls(url.rstrip("/"), files, f"{path.rstrip('/')}/{folder}")

    @classmethod
    def of_file(cls, url: str) -> tuple[Self, str]:
        """The folder of a single file at this address, and the file's name in it. Raises InvalidInput as `at`."""
        files, path = _opened(url)
        folder, _, name = path.rpartition("/")
        if not name or not folder:
            raise InvalidInput("The address must name a file in a folder or a bucket.", "to")
        return cls(url, files, folder, "The file"), name

    @contextmanager
    def translated(self, *, writes: bool = False) -> Iterator[None]:
        """For a block that uses the storage: raises StoreUnavailable for the storage's own errors.

        Raises PlaceRefused where the block writes and the storage does not let it: trying again would not help.
        """
        try:
            yield
        except (PenchantError, AssertionError, AttributeError, TypeError):  # our errors and bugs
            raise  # a KeyError is not among them: s3fs raises it for unexpected answers
        except Exception as error:
            refused = isinstance(error, OSError) and (_is_refusal(error) if writes else error.errno in FULL)
            said = (
                f"{self.called} at {self.url} {'cannot be written' if refused else 'did not answer'}: {_words(error)}"
            )
            raise (PlaceRefused if refused and writes else StoreUnavailable)("lake", said) from error

    def path(self, name: str) -> str:
        """The storage's own name of a file."""
        return f"{self.root}/{name}"

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Every file, or those in a folder, with its bytes."""
        with self.translated():
            self.files.invalidate_cache()
            found = self.files.find(self.path(folder).rstrip("/"), detail=True)
        return {path.removeprefix(f"{self.root}/"): int(about["size"] or 0) for path, about in found.items()}

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The whole content of files, fetched side by side where the storage can."""
        with self.translated():
            names = list(names)
            paths = [self.path(name) for name in names]
            found = self.files.cat_ranges(paths, None, None, on_error="raise")  # `cat` reads names as patterns
        return dict(zip(names, found, strict=True))

    def create(self, folder: str) -> tuple[str, Any]:
        """A new file in a folder, "" for the root, under a temporary name; `name` names it when it is written."""
        temporary = f"{folder}/{TEMPORARY}{uuid4().hex}".removeprefix("/")
        with self.translated(writes=True):
            if not isinstance(self.files, AsyncFileSystem):  # would create the bucket; a bucket has no folders
                self.files.makedirs(self.path(folder).rstrip("/"), exist_ok=True)
            return temporary, self.files.open(self.path(temporary), "wb")

    def name(self, temporary: str, name: str) -> None:
        """Give a temporary file its name in one step; it replaces a file of that name."""
        with self.translated(writes=True):
            if isinstance(self.files, AsyncFileSystem):  # a bucket cannot rename, but a copy appears in one step
                self.files.cp_file(self.path(temporary), self.path(name))
                self.files.rm_file(self.path(temporary))
            else:
                self.files.mv(self.path(temporary), self.path(name))

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Write a small file, as a whole or not at all."""
        temporary, file = self.create(folder)
        try:
            with self.translated(writes=True):
                file.write(content)
                finish(file)
        except BaseException:
            with suppress(Exception):  # the first error is the cause
                discard(file)
                self.remove([temporary])
            raise
        self.name(temporary, f"{folder}/{name}")

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that does not exist is skipped."""
        with self.translated():
            for name in names:
                try:
                    self.files.rm_file(self.path(name))
                except FileNotFoundError:
                    continue


def finish(file: Any) -> None:
    """Close a written file; on a local disk, sync it first, so that it survives a power cut."""
    file.flush()
    try:
        number = file.fileno()
    except (AttributeError, OSError):  # not a local file
        number = None
    if number is not None:
        os.fsync(number)
    file.close()


def discard(file: Any) -> None:
    """Close a file without keeping it."""
    if isinstance(file, AbstractBufferedFile):  # closing it would upload the rest
        file.discard()
        file.closed = True
    else:
        file.close()


def _opened(url: str) -> tuple[Any, str]:
    _require_plain(url)
    try:
        files, path = url_to_fs(url)
    except (ValueError, TypeError, AttributeError):
        words = f"{_scheme(url)}:// is not an address of a storage that fsspec can open."
        raise InvalidInput(words, "lake_url") from None
    except ImportError as error:
        words = f"{_scheme(url)}:// needs a package that is not installed (penchant[lake] has the one for S3)"
        raise InvalidInput(f"{words}: {error.name or error}", "lake_url") from None
    return files, path


def _require_plain(url: str) -> None:
    """Raise InvalidInput for an unusable address. The text does not repeat the address, which may hold a secret."""
    scheme, mark, rest = url.partition("://")
    if "::" in url or (mark and any(sign in url for sign in "@?")):
        raise InvalidInput(
            "An address must not contain a password, '@', '?' or '::'. Use the storage's own settings.",
            "lake_url",
        )
    if scheme == "memory" and mark:
        raise InvalidInput("memory:// cannot hold a lake: it is lost when its process ends.", "lake_url")
    if scheme in ("file", "local") and mark and not rest.startswith("/"):
        raise InvalidInput(f"{scheme}:// needs an absolute path, as in {scheme}:///folder.", "lake_url")


def _scheme(url: str) -> str:
    return url.partition("://")[0]


def _is_refusal(error: OSError) -> bool:
    """Whether a write failed for good: the place is full, missing or may not be written. A bucket gives no numbers."""
    return error.errno in REFUSED or isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError))


def _words(error: Exception) -> str:
    """The type of an error, and the message of an OSError, which holds no settings."""
    kind = type(error).__name__
    if isinstance(error, OSError) and (said := error.strerror or (error.args and error.args[0])):
        return f"{kind}: {str(said).splitlines()[0][:200]}"
    return kind
