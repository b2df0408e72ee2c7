"""What is known of blank cells that may mean "as above"."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

EXAMPLES: Final = 3  # lines


@dataclass(frozen=True, slots=True)
class Blanks:
    """Lines without a value that the line above with the same `by` has. `first`: some of them, with their keys."""

    by: str = ""
    lines: int = 0
    columns: Counter[str] = field(default_factory=Counter)  # how many of the lines lack each
    first: tuple[tuple[int, str], ...] = ()
    filled: tuple[str, ...] = ()  # the columns that the recipe fills already

    def plus(self, other: Self | None) -> Self:
        """Both together."""
        if other is None or not other.lines:
            return self
        first = (self.first + other.first)[:EXAMPLES]
        return type(self)(other.by, self.lines + other.lines, self.columns + other.columns, first, other.filled)

    def words(self) -> Iterator[str]:
        """What a recipe would say about them; nothing if there are none."""
        if not self.lines:
            return
        names = [name for name, lines in self.columns.items() if lines == self.lines or name == self.by]
        names = names or [self.columns.most_common(1)[0][0]]
        listed = ", ".join(f'"{name}"' for name in (*self.filled, *names))
        shown = ", ".join(f"line {line} ({key[:40]})" for line, key in self.first)
        yield (
            f"{self.lines:,} lines lack {' and '.join(f'`{name}`' for name in names)}, as {shown}, where the line above"
            f" has a value: if blank means as above, the recipe needs"
            f' fill_down = {{ by = "{self.by}", columns = [{listed}] }}'
        )
