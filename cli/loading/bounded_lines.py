"""Lines of a file: none is longer, and no chunk larger, than memory should hold."""

from collections.abc import Iterator
from functools import partial
from typing import IO, AnyStr, Final

from cli.loading.chunks import WrongFile

LONGEST_LINE: Final = 1 << 26  # characters or bytes
ROOM: Final = 1 << 26  # characters or bytes; the lines of a chunk that are longer end it


def lines_of(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """The lines with their ends; one that is too long comes in pieces, which `check_length` refuses."""
    return iter(partial(file.readline, LONGEST_LINE), file.read(0))


def taken(lines: Iterator[AnyStr], size: int) -> list[AnyStr]:
    """The next lines: at most `size`, and fewer when they are long. Raises WrongFile for a line that is too long."""
    found: list[AnyStr] = []
    room = ROOM
    for line in lines:
        found.append(line)
        room -= len(line)
        if room <= 0 or len(found) >= size:
            check_length(line)
            break
    return found


def check_length(line: AnyStr) -> None:
    """Raise WrongFile for a line that is too long to be one."""
    if len(line) >= LONGEST_LINE:
        raise WrongFile(f"a line is longer than {LONGEST_LINE >> 20} MB; it is not a table of lines")
