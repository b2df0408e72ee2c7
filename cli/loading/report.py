"""How a load goes, for people: a bar on a terminal, a plain line now and then elsewhere, both on standard error."""

from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 5.0


class Report(AbstractContextManager["Report"], Protocol):
    """Told after every chunk."""

    def step(self, read: int, lines: int) -> None:
        """`read` bytes of the file and `lines` lines are behind us."""
        ...


class Bar:
    """A bar over the file's bytes."""

    def __init__(self, console: Console, name: str, size: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[lines]:,} lines"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(name, total=size, lines=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, read: int, lines: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=read, lines=lines)


class Lines:
    """A line every few seconds."""

    def __init__(self, console: Console, name: str, size: int) -> None:
        self._console, self._name, self._size = console, name, max(size, 1)
        self._said = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def step(self, read: int, lines: int) -> None:
        """Say it when it is time."""
        if monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._said = monotonic()
            self._console.print(f"{self._name}: {lines:,} lines, {100 * read // self._size} %", highlight=False)


def report_on(name: str, size: int) -> Report:
    """The right one for where standard error goes."""
    console = Console(stderr=True)
    return Bar(console, name, size) if console.is_terminal else Lines(console, name, size)
