"""How the columns of a file become ours: by their names, or converted by a recipe."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.blank_cells import BlankCells
from cli.loading.cell_sources import source_of
from cli.loading.chunks import CHUNK, Chunk, Lines, Reject, WrongFile
from cli.loading.columns import TIMES, Kind, check_columns
from cli.loading.conversions import convert, matches
from cli.loading.filling_down import FilledDown
from cli.loading.joined_files import JoinedFile
from cli.loading.odd_texts import Faults
from cli.loading.reads import Reads, Rule
from cli.loading.recipes import Recipe
from cli.loading.sources import Sources
from cli.loading.spreading import spread_lists, spread_texts
from cli.loading.synthetic_times import SyntheticTimes
from cli.loading.typed_columns import recorder, texts_of
from cli.loading.values import Rules, Values, chunk_of, read_values, rejects_of, without_faults

Columns = Mapping[str, pa.Array]
_VALUES_EXPECTED: Final = 10  # of a line that holds several


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


class RecordShape(Shape, Protocol):
    """Also reads records with nested values."""

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
        """The columns that are read. Raises WrongFile naming one that the first lines do not have."""
        ...


@dataclass(frozen=True, slots=True)
class ByName:
    """The file's columns have our names."""

    kind: Kind
    zone: ZoneInfo | None
    size: int = CHUNK

    def wanted(self, names: list[str]) -> list[str]:
        """All that have a name."""
        named = [name for name in names if name]
        check_columns(self.kind, named)
        return named

    def chunk(self, lines: Lines, columns: Mapping[str, pa.Array], rejects: list[Reject], read: int) -> Chunk:
        """The columns as they are."""
        return chunk_of(lines, columns, Rules(self.zone), rejects, read)


@dataclass(frozen=True)
class ByRecipe:
    """The file's columns are converted into ours by a recipe. For one reading of the file from its start."""

    kind: Kind
    recipe: Recipe
    zone: ZoneInfo | None
    moved: timedelta = timedelta()
    synthetic: SyntheticTimes | None = field(default=None, repr=False)
    joined: JoinedFile | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Fewer lines when each holds several values."""
        return CHUNK // _VALUES_EXPECTED if self.reads.each is not None or self.reads.lists else CHUNK

    @cached_property
    def reads(self) -> Reads:
        """What the recipe reads for files of this kind."""
        return Reads(self.recipe, self.kind)

    @cached_property
    def _sources(self) -> Sources:
        return Sources(self.reads.used, self.reads.optional)

    @cached_property
    def _filled_down(self) -> FilledDown | None:
        return FilledDown(self.recipe.fill_down) if self.recipe.fill_down else None

    @cached_property
    def _blank_cells(self) -> BlankCells:
        return BlankCells(self.recipe, self.reads, self.kind)

    def wanted(self, names: list[str]) -> list[str]:
        """The columns that the recipe reads."""
        return self._sources.in_header(names)

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
        """The columns that the recipe reads, of records with nested values."""
        return self._sources.of_records(records)

    def chunk(self, lines: Lines, columns: Mapping[str, pa.Array], rejects: list[Reject], read: int) -> Chunk:
        """Our columns, of the lines that no rule leaves out."""
        last = int(lines[-1]) if len(lines) else 0
        columns = self._whole(self._sources.of_table(columns, len(lines)))
        blanks = self._blank_cells.count(lines, columns)
        lines, columns, skipped, refused = self._selected(lines, columns)
        values = self._values(lines, columns)
        good, kept = without_faults(lines, values)
        kept = self._timed(kept)
        rejects = rejects + refused + rejects_of(lines, values)
        record = recorder(kept, self._cleared)
        return Chunk(good, kept, record, rejects, read, skipped, last, values.rounded, self._cleared, blanks)

    @property
    def _cleared(self) -> frozenset[str]:
        """Our columns whose empty cells clear what is stored. A column that the file does not have clears nothing."""
        if self.kind == Kind.EVENTS or not self.reads.clearing:
            return frozenset()
        return frozenset(name for name, read in self.reads.clearing.items() if self._sources.has_any(read))

    def _whole(self, columns: Columns) -> Columns:
        """The columns with their blank cells filled, if the recipe says so."""
        _check_plain(self.reads.plain, columns)
        return self._filled_down.filled(columns) if self._filled_down else columns

    def _selected(
        self, lines: Lines, columns: Mapping[str, pa.Array]
    ) -> tuple[Lines, Columns, Counter[str], list[Reject]]:
        """A line for each value and no line that a rule leaves out; how many lines each column left out; rejects."""
        skipped: Counter[str] = Counter()
        lines, columns = _kept(self.reads.early, lines, columns, skipped)
        lines, columns, rejects = self._with_joined(lines, columns)
        if self.reads.lists:
            lines, columns, *_ = spread_lists(lines, columns, self.reads.lists)
        elif self.reads.each:
            lines, columns, empty, odd = spread_texts(self.reads.each, lines, columns)
            skipped += Counter({self.reads.each.column: empty})
            rejects += odd
        lines, columns = _kept(self.reads.late, lines, columns, skipped)
        return lines, columns, skipped, rejects

    def _with_joined(self, lines: Lines, columns: Columns) -> tuple[Lines, Columns, list[Reject]]:
        """The lines that have a partner in the joined file, with its columns."""
        if self.joined is None or self.reads.join is None:
            return lines, columns, []
        key, _ = self.reads.join.keys
        found, alone = self.joined.columns(columns[key])
        reason = f"{key} is in no line of {self.joined.name}"
        rejects = [Reject(int(line), key, reason) for line in lines[alone]]
        return lines[~alone], _filtered({**columns, **found}, pa.array(~alone)), rejects

    @cached_property
    def rules(self) -> Rules:
        """How the values of the file are read."""
        missing = self.recipe.missing
        absolute = frozenset(name for name, cell in self.reads.cells.items() if cell.absolute)
        return Rules(self.zone, self.recipe.decimal, None if missing is None else frozenset(missing), absolute)

    def _values(self, lines: Lines, columns: Columns) -> Values:
        """What our columns mean, made from those of the file."""
        made: dict[str, pa.Array] = {}
        faults: Faults = {}
        for name, cell in self.reads.cells.items():
            source, nested = source_of(name, cell, lines, columns)
            found = convert(name, cell, source, self.rules, len(lines))
            made[name] = found.column
            faults = {place: (name, reason) for place, reason in (found.faults | nested).items()} | faults
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
    return replace(shape, synthetic=SyntheticTimes(people, cut))  # a new shape remembers nothing of this reading


def person_of(columns: Mapping[str, pa.Array]) -> pa.Array:
    """The person of each line, guests apart from users; the empty text where a line names nobody."""
    users, guests = columns.get("userId"), columns.get("anonymousId")
    named = [
        pc.binary_join_element_wise(kind, ids.cast(pa.string()), "")
        for kind, ids in (("u", users), ("g", guests))
        if ids is not None
    ]
    return pc.coalesce(*named, pa.scalar("", pa.string()))


def _check_plain(names: Iterable[str], columns: Columns) -> None:
    for name in sorted(names):
        if pa.types.is_nested(columns[name].type):
            raise WrongFile(f"the column {name!r} holds objects or lists where the recipe needs a text in each line")


def _kept(rules: Sequence[Rule], lines: Lines, columns: Columns, skipped: Counter[str]) -> tuple[Lines, Columns]:
    """The lines that no rule leaves out; counts in `skipped` how many the rules of each column leave out."""
    for column, pattern, kept in rules:
        fits = matches(texts_of(columns[column]), pattern)
        mask = fits if kept else pc.invert(fits)
        if lost := len(lines) - (mask.true_count or 0):
            skipped[column] += lost
            lines, columns = lines[mask.to_numpy(zero_copy_only=False)], _filtered(columns, mask)
    return lines, columns


def _filtered(columns: Mapping[str, pa.Array], mask: pa.Array) -> dict[str, pa.Array]:
    return {name: column.filter(mask) for name, column in columns.items()}
