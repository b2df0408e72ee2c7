"""How the columns of a file become ours: by their names, or converted by a recipe."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import CHUNK, Chunk, Lines, Reject, WrongFile
from cli.loading.columns import TIMES, Kind, check_columns
from cli.loading.conversions import convert, matches
from cli.loading.odd_texts import Faults
from cli.loading.recipes import Recipe, Section
from cli.loading.synthetic_times import SyntheticTimes
from cli.loading.typed_columns import recorder, texts_of
from cli.loading.values import Rules, Values, chunk_of, read_values, rejects_of, without_faults

_VALUES_EXPECTED: Final = 10  # of a line that holds several
_SEPARATORS: Final = r"[\s,;|]+"  # between the values of a column that holds several


class Shape(Protocol):
    """Turns columns of a file into a chunk of our columns."""

    @property
    def size(self) -> int:
        """How many lines of the file a chunk covers."""
        ...

    def wanted(self, names: list[str]) -> list[str]:
        """The columns of the file that are read. Raises WrongFile naming one that is missing or unknown."""
        ...

    def chunk(self, lines: Lines, columns: Mapping[str, pa.Array], rejects: list[Reject], read: int) -> Chunk:
        """The chunk of these lines; columns are as long as `lines`. Raises WrongFile for a column of a wrong type."""
        ...


@dataclass(frozen=True, slots=True)
class ByName:
    """The file's columns have our names."""

    kind: Kind
    zone: ZoneInfo | None
    size: int = CHUNK

    def wanted(self, names: list[str]) -> list[str]:
        """All of them."""
        check_columns(self.kind, names)
        return names

    def chunk(self, lines: Lines, columns: Mapping[str, pa.Array], rejects: list[Reject], read: int) -> Chunk:
        """The columns as they are."""
        return chunk_of(lines, columns, Rules(self.zone), rejects, read)


@dataclass(frozen=True)
class ByRecipe:
    """The file's columns are converted into ours by a recipe."""

    kind: Kind
    recipe: Recipe
    zone: ZoneInfo | None
    moved: timedelta = timedelta()
    synthetic: SyntheticTimes | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Fewer lines when each holds several values."""
        return CHUNK if self.recipe.each is None else CHUNK // _VALUES_EXPECTED

    @cached_property
    def section(self) -> Section:
        """The section of the recipe for this kind of file."""
        found = self.recipe.section(self.kind)
        if found is None:
            raise WrongFile(f"the recipe has no section [{self.kind}]")
        return found

    @cached_property
    def skipping(self) -> list[tuple[str, str, bool]]:
        """The rules for lines: (column, pattern, whether lines that fit are kept)."""
        parts = (self.recipe, self.section)
        return [
            (column, pattern, kept)
            for part in parts
            for rules, kept in ((part.skip, False), (part.keep, True))
            for column, pattern in rules.items()
        ]

    @cached_property
    def used(self) -> frozenset[str]:
        """The columns that the recipe reads."""
        converted = {cell.column for cell in self.section.cells.values() if cell.column is not None}
        return frozenset(converted | {column for column, _, _ in self.skipping})

    def wanted(self, names: list[str]) -> list[str]:
        """The columns that the recipe reads."""
        for name in sorted(self.used):
            if names.count(name) != 1:
                why = "is there twice" if name in names else f"is not in the file; there are: {', '.join(names)}"
                raise WrongFile(f"the recipe reads the column {name!r}, which {why}")
        return [name for name in names if name in self.used]

    def chunk(self, lines: Lines, columns: Mapping[str, pa.Array], rejects: list[Reject], read: int) -> Chunk:
        """Our columns, of the lines that no rule leaves out."""
        last = int(lines[-1]) if len(lines) else 0
        lines, columns, skipped = self._kept(lines, columns)
        lines, columns = self._one_value_per_line(lines, columns)
        values = self._values(columns, len(lines))
        good, kept = without_faults(lines, values)
        kept = self._timed(kept)
        refused = rejects + rejects_of(lines, values.faults)
        return Chunk(good, kept, recorder(kept), refused, read, skipped, last, values.rounded)

    def _kept(
        self, lines: Lines, columns: Mapping[str, pa.Array]
    ) -> tuple[Lines, Mapping[str, pa.Array], dict[str, int]]:
        """The lines that no rule leaves out, and how many the rules of each column leave out."""
        skipped: dict[str, int] = {}
        for column, pattern, kept in self.skipping:
            fits = matches(texts_of(columns[column]), pattern)
            mask = fits if kept else pc.invert(fits)
            if lost := len(lines) - (mask.true_count or 0):
                skipped[column] = skipped.get(column, 0) + lost
                lines, columns = lines[mask.to_numpy(zero_copy_only=False)], _filtered(columns, mask)
        return lines, columns, skipped

    def _one_value_per_line(
        self, lines: Lines, columns: Mapping[str, pa.Array]
    ) -> tuple[Lines, Mapping[str, pa.Array]]:
        """A line for each value of the column that holds several."""
        name = self.recipe.each
        if name is None or name not in columns:
            return lines, columns
        several = columns[name]
        if not pa.types.is_list(several.type) and not pa.types.is_large_list(several.type):
            several = pc.split_pattern_regex(texts_of(several), _SEPARATORS)
        parents = pc.list_parent_indices(several)
        spread = {other: column.take(parents) for other, column in columns.items() if other != name}
        return lines[parents.to_numpy()], {**spread, name: pc.list_flatten(several)}

    @cached_property
    def rules(self) -> Rules:
        """How the values of the file are read."""
        missing = self.recipe.missing
        absolute = frozenset(name for name, cell in self.section.cells.items() if cell.absolute)
        return Rules(self.zone, self.recipe.decimal, None if missing is None else frozenset(missing), absolute)

    def _values(self, columns: Mapping[str, pa.Array], count: int) -> Values:
        """What our columns mean, made from those of the file."""
        made: dict[str, pa.Array] = {}
        faults: Faults = {}
        for name, cell in self.section.cells.items():
            source = None if cell.column is None else columns[cell.column]
            found = convert(name, cell, source, self.rules, count)
            made[name] = found.column
            faults = {place: (name, reason) for place, reason in found.faults.items()} | faults
        values = read_values(made, self.rules)
        return values._replace(faults=values.faults | faults)

    def _timed(self, made: dict[str, pa.Array]) -> dict[str, pa.Array]:
        """The columns with synthetic times, if the recipe wants them, and with times moved, if it shifts them."""
        if self.synthetic is not None:
            made = {**made, "occurredAt": self.synthetic.of(person_of(made))}
        if not self.moved:
            return made
        by = pa.scalar(self.moved, pa.duration("us"))
        return {name: pc.add(made[name], by) if name in TIMES else made[name] for name in made}


def with_synthetic_times(shape: ByRecipe, chunks: Callable[[ByRecipe], Iterable[Chunk]]) -> ByRecipe:
    """The shape with synthetic times if its recipe wants them: reads the file to count the lines of each person."""
    cut = shape.recipe.cut
    if shape.recipe.clock == "file" or cut is None or shape.kind != Kind.EVENTS:
        return shape
    people = (person_of(chunk.columns) for chunk in chunks(shape))
    return ByRecipe(shape.kind, shape.recipe, shape.zone, shape.moved, SyntheticTimes(people, cut))


def person_of(columns: Mapping[str, pa.Array]) -> pa.Array:
    """The person of each line, guests apart from users; the empty text where a line names nobody."""
    users, guests = columns.get("userId"), columns.get("anonymousId")
    named = [
        pc.binary_join_element_wise(kind, ids.cast(pa.string()), "")
        for kind, ids in (("u", users), ("g", guests))
        if ids is not None
    ]
    return pc.coalesce(*named, pa.scalar("", pa.string()))


def _filtered(columns: Mapping[str, pa.Array], mask: pa.Array) -> dict[str, pa.Array]:
    return {name: column.filter(mask) for name, column in columns.items()}
