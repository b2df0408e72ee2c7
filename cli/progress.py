"""How a training goes, for people: bars on a terminal, a plain line per stage elsewhere, both on standard error."""

from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

SECONDS_BETWEEN_LINES = 10.0


class Stages(AbstractContextManager["Stages"], Protocol):
    """Told about every step."""

    def __call__(self, stage: str, done: int, of: int) -> None:
        """`done` steps of a stage are behind us."""
        ...


class Bars:
    """A bar per stage."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, of: int) -> None:
        """Move the stage's bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=of)
        self._progress.update(self._tasks[stage], completed=done)


class Lines:
    """A line when a stage begins and ends, and now and then between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._said, self._began = "", 0.0, monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, stage: str, done: int, of: int) -> None:
        """Say it when it is time."""
        now = monotonic()
        if stage == self._stage and done < of and now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._stage, self._said = stage, now
        self._console.print(f"{now - self._began:6.1f} s  {stage}: {done:,} of {of:,}", highlight=False)


def stages() -> Stages:
    """The right one for where standard error goes."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console)
