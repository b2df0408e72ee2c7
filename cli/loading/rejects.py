"""The file of rejects: the lines that were not stored, each as a JSON object with `line`, `field` and `reason`."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from cli.errors import CannotWrite
from cli.loading.chunks import Reject

_MOST_REASONS = 1000
_WRITTEN = ("line", "field", "reason")


class RejectFile:
    """Written only when there are rejects. Rejects that an earlier load wrote about later lines are dropped."""

    def __init__(self, path: Path, keep_until: int = 0) -> None:
        """Keep the rejects of the first `keep_until` lines and write behind them."""
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._file: FileIO | None = None
        with self._translated():
            kept = _kept(path, keep_until)
            if kept:
                path.write_bytes(b"".join(kept))
            elif os.path.lexists(path):  # a folder that may not be written refuses to remove even what is not there
                path.unlink()
        self._count(orjson.loads(line)["reason"] for line in kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def write(self, rejects: Sequence[Reject]) -> None:
        """Add these, in the order of their lines. Raises CannotWrite."""
        if not rejects:
            return
        self._count(reject.reason for reject in rejects)
        in_order = sorted(rejects, key=lambda reject: reject.line)
        with self._translated():
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)  # nothing is left to write when it is closed
            lines = (orjson.dumps(dict(zip(_WRITTEN, reject, strict=False))) for reject in in_order)
            _write_all(self._file, b"".join(line + b"\n" for line in lines))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            words = f"the rejects cannot be written to {self.path}: {error.strerror or error}"
            raise CannotWrite(f"{words} (--rejects names another file; the same command resumes)") from error

    def _count(self, reasons: Iterable[str]) -> None:
        """Count the reasons; those beyond many different ones together."""
        for reason in reasons:
            known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
            self.reasons[reason if known else "of other reasons"] += 1


def _write_all(file: FileIO, lines: bytes) -> None:
    """Write without a buffer: a buffer that a full disk refuses would fail again when the file is closed."""
    while lines:
        lines = lines[file.write(lines) :]


def _kept(path: Path, until: int) -> list[bytes]:
    if not until or not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if _line(line) <= until]


def _line(reject: bytes) -> float:
    try:
        return int(orjson.loads(reject)["line"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return float("inf")  # the last reject, cut off when the process was killed
