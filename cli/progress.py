"""Progress for people, on standard error: bars on a terminal, a plain line now and then elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_STAGE_LINES = 10.0
SECONDS_BETWEEN_FILE_LINES = 5.0

StageProgress = Callable[[str, int, int], None]
"""Called after every step: the stage, the steps done, and how many it has."""
FileProgress = Callable[[int, int], None]
"""Called after every chunk: the bytes of the file and the lines that are read."""


@contextmanager
def stage_progress() -> Iterator[StageProgress]:
    """Shows each stage of a training or an export."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _stage_lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield _stage_bars(bars)


@contextmanager
def file_progress(name: str, size: int) -> Iterator[FileProgress]:
    """Shows how much of a file of `size` bytes is read."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _file_lines(console, name, max(size, 1))
        return
    lines = TextColumn("{task.fields[lines]:,} lines")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), lines, TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=size, lines=0)
        yield lambda read, lines: bar.update(task, completed=read, lines=lines)


def _stage_bars(bars: Progress) -> StageProgress:
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, of: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=of)
        bars.update(tasks[stage], completed=done)

    return report


def _stage_lines(console: Console) -> StageProgress:
    """A line when a stage begins and ends, and now and then between."""
    began = monotonic()
    last_stage, last_line = "", 0.0

    def report(stage: str, done: int, of: int) -> None:
        nonlocal last_stage, last_line
        now = monotonic()
        if stage == last_stage and done < of and now - last_line < SECONDS_BETWEEN_STAGE_LINES:
            return
        last_stage, last_line = stage, now
        console.print(f"{now - began:6.1f} s  {stage}: {done:,} of {of:,}", highlight=False)

    return report


def _file_lines(console: Console, name: str, size: int) -> FileProgress:
    last_line = monotonic()

    def report(read: int, lines: int) -> None:
        nonlocal last_line
        if monotonic() - last_line >= SECONDS_BETWEEN_FILE_LINES:
            last_line = monotonic()
            console.print(f"{name}: {lines:,} lines, {100 * read // size} %", highlight=False)

    return report
