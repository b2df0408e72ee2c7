"""Files that cannot be written: one error that names the file or folder, instead of the system's."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import DiskFull

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""No space, no space for this user, no larger file allowed, nothing may be written."""

REFUSED: Final = FULL | {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
"""And: no right to write there, or the path leads through a file or to something else."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Around code that writes to `path`: one that cannot be written is DiskFull. Other errors pass unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise disk_full(error, path) from error


@contextmanager
def temporary_errors() -> Iterator[None]:
    """Around code that makes a temporary file or folder: when no folder for them takes one, this is DiskFull."""
    try:
        yield
    except FileNotFoundError as error:  # `tempfile` has tried to write into each
        raise DiskFull("No temporary file can be written: free space, or name another folder in TMPDIR.") from error


def disk_full(error: OSError, path: Path | None = None) -> DiskFull:
    """The error for one whose number is in REFUSED; without `path` it names the file that the system names, if any."""
    where = path or error.filename
    return DiskFull(f"{where or 'A file'} cannot be written: {error.strerror}.")
