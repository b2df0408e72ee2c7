"""What a recipe reads for files of one kind, and when its rules apply."""

from functools import cached_property
from typing import Final, NamedTuple

from cli.loading.chunks import WrongFile
from cli.loading.columns import Kind
from cli.loading.joined_files import LEAD
from cli.loading.paths import EVERY, path_of
from cli.loading.recipes import Cell, Each, Join, Recipe

_NEVER_CLEARED: Final = frozenset({"id", "updatedAt", "market"})


class Rule(NamedTuple):
    """Leaves lines out: those whose column matches the pattern, or those whose column does not."""

    column: str
    pattern: str
    kept: bool  # whether lines that match are kept


class Reads:
    """The columns and rules of the section for one kind of file, and the recipe's own."""

    def __init__(self, recipe: Recipe, kind: Kind) -> None:
        """Raises WrongFile if the recipe has no section for the kind, or takes lines from two columns."""
        section = recipe.section(kind)
        if section is None:
            raise WrongFile(f"the recipe has no section [{kind}]")
        self._recipe = recipe
        self._kind = kind
        self.cells: dict[str, Cell] = section.cells
        self._rules = [
            Rule(column, pattern, kept)
            for part in (recipe, section)
            for rules, kept in ((part.skip, False), (part.keep, True))
            for column, pattern in rules.items()
        ]
        self._check_parts()
        if self.each and self.lists:
            raise WrongFile(f"the recipe makes lines of each value of {self.each.column!r} and of {min(self.lists)!r}")

    def _check_parts(self) -> None:
        """Raise WrongFile for a part of a value that the pattern of `each` does not name."""
        each = self._recipe.each
        for name in sorted(self._named - self._parts) if each and each.pattern else ():
            if each and name.startswith(f"{each.column}."):
                raise WrongFile(f"the recipe reads {name!r}, but the pattern of each names {', '.join(each.groups)}")

    @cached_property
    def _named(self) -> frozenset[str]:
        """All columns that the section names."""
        read = {column for cell in self.cells.values() for column in cell.read}
        return frozenset(read | {rule.column for rule in self._rules})

    @cached_property
    def used(self) -> frozenset[str]:
        """The columns of the file itself."""
        down = self._recipe.fill_down
        more = {down.by, *down.columns} if down else set()
        more |= {self.join.keys[0]} if self.join else set()
        more |= {self.each.column} if self.each else set()
        return frozenset(more | {name for name in self._named if name not in self._parts and not self._is_joined(name)})

    @cached_property
    def plain(self) -> frozenset[str]:
        """The columns of the file that rules, `fill_down`, `join` and the like read: each line has one text."""
        down = self._recipe.fill_down
        named = {rule.column for rule in self.early} | ({down.by, *down.columns} if down else set())
        return frozenset(named | ({self.join.keys[0]} if self.join else set()))

    @cached_property
    def joined(self) -> frozenset[str]:
        """The columns of the joined file, by their names in there."""
        names = {name.removeprefix(LEAD) for name in self._named if self._is_joined(name)}
        return frozenset(names | {self.join.keys[1]}) if self.join and names else frozenset()

    @cached_property
    def optional(self) -> frozenset[str]:
        """The columns that the file need not have: no part of the section reads them as required."""
        cells = self.cells.values()
        required = {column for cell in cells if not cell.optional for column in cell.read}
        required |= {rule.column for rule in self._rules}
        return frozenset({column for cell in cells if cell.optional for column in cell.read} - required)

    @cached_property
    def joined_optional(self) -> frozenset[str]:
        """The columns that the joined file need not have."""
        return frozenset(name.removeprefix(LEAD) for name in self.optional if self._is_joined(name))

    @cached_property
    def clearing(self) -> dict[str, tuple[str, ...]]:
        """Our columns whose empty cells clear what is stored, and the columns of the file that each reads."""
        always = self._recipe.empty
        return {
            name: cell.read
            for name, cell in self.cells.items()
            if (cell.empty or always) == "clear" and cell.value is None and name not in _NEVER_CLEARED
        }

    @cached_property
    def each(self) -> Each | None:
        """The column whose values make lines, if the section reads it."""
        each = self._recipe.each
        read = {each.column, *self._parts} & self._named if each else set()
        return each if read else None

    @cached_property
    def lists(self) -> frozenset[str]:
        """The columns whose paths lead into every value of a list."""
        return frozenset(name for name in self.used if EVERY in path_of(name))

    @cached_property
    def join(self) -> Join | None:
        """The join, if the section reads a column of the joined file."""
        return self._recipe.join if any(name.startswith(LEAD) for name in self._named) else None

    @cached_property
    def early(self) -> list[Rule]:
        """The rules for columns that are there before lines are joined or made of values."""
        return [rule for rule in self._rules if not self._is_late(rule.column)]

    @cached_property
    def late(self) -> list[Rule]:
        """The other rules. A list without values makes no item and no user."""
        id = self.cells.get("id")
        empty = [Rule(id.column, ".+", True)] if id and id.column in self.lists and self._kind != Kind.EVENTS else []
        return [rule for rule in self._rules if self._is_late(rule.column)] + empty

    @cached_property
    def _parts(self) -> frozenset[str]:
        each = self._recipe.each
        return frozenset(f"{each.column}.{group}" for group in each.groups) if each else frozenset()

    def _is_joined(self, name: str) -> bool:
        return self._recipe.join is not None and name.startswith(LEAD)

    def _is_late(self, column: str) -> bool:
        each = {self.each.column, *self._parts} if self.each else set()
        return column in self.lists or column in each or self._is_joined(column)
