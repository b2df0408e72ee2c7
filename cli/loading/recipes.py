"""Recipes: a small TOML file that maps the columns of a foreign file to ours."""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from cli.errors import WrongCommand
from cli.loading.chunks import WrongFile
from cli.loading.columns import Kind, check_columns
from cli.loading.paths import EVERY, path_of
from cli.loading.recipe_faults import recipe_fault, toml_fault
from cli.loading.synthetic_times import weeks_between
from cli.loading.time_formats import EPOCHS, EXCEL


class WrongRecipe(WrongCommand):
    """The recipe cannot be followed."""


def _pattern(text: str) -> str:
    try:
        pc.match_substring_regex(pa.array([""]), text)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


def _separator(text: str) -> str:
    if pc.match_substring_regex(pa.array([""]), f"^(?:{_pattern(text)})$")[0].as_py():
        raise ValueError("must not match the empty text")
    return text


def _parts(text: str) -> str:
    if not _groups(_pattern(text)):
        raise ValueError('names no part; write each as in "(?P<sku>.+) x (?P<quantity>[0-9]+)"')
    return text


def _groups(pattern: str) -> list[str]:
    """The names of the groups of a pattern."""
    try:
        found = pc.extract_regex(pa.array([""]), f"^(?:{pattern})$").type
    except pa.ArrowInvalid:
        return []
    return [found.field(place).name for place in range(found.num_fields)]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"there is no time zone {name!r}") from None
    return name


def _time_format(text: str) -> str:
    if text not in EPOCHS and text not in EXCEL and "%" not in text:
        counted = ", ".join(f'"{format}"' for format in (*EPOCHS, *EXCEL))
        raise ValueError(f'is made as in "%d/%m/%Y %H:%M", or is one of {counted}')
    return text


def _as_text(value: Any) -> Any:
    """Constants may be written as numbers or booleans."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


Pattern = Annotated[str, AfterValidator(_pattern)]  # of RE2, for the whole text
Text = Annotated[str, BeforeValidator(_as_text)]
Rules = dict[str, Pattern]  # by column
Empty = Literal["keep", "clear"]  # what an empty cell does to what is stored


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cell(_Part):
    """Where one of our columns comes from (a column or a constant), and how its text is converted.

    `first`: the first of these columns that has a value; `columns`: all of them, with blanks between.
    """

    column: str | None = None
    first: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    optional: bool = False
    value: Text | None = None
    map: dict[Pattern, Text] = Field(default_factory=dict)
    otherwise: Text | None = None
    format: Annotated[str, AfterValidator(_time_format)] | None = None
    absolute: bool = False
    prefix: str | None = None
    separator: str | None = None
    levels: str | None = None
    empty: Empty | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = (self.column is not None, bool(self.first), bool(self.columns), self.value is not None)
        if sum(given) != 1:
            raise ValueError('needs either a column, as in "Name" or { column = "Name" }, or a value')
        if self.otherwise is not None and not self.map:
            raise ValueError("has an otherwise without a map")
        return self

    @model_validator(mode="after")
    def _is_one_value(self) -> Self:
        if self.value is not None and (self.separator or self.levels or self.prefix):
            raise ValueError("has a value, which needs no prefix, separator or levels")
        return self

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,) if self.column is not None else self.first or self.columns


class Each(_Part):
    """A column with several values, each of which makes a line, and how its text holds them."""

    column: str
    separator: Annotated[str, AfterValidator(_separator)] | None = None
    pattern: Annotated[str, AfterValidator(_parts)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.pattern and not self.separator:
            raise ValueError('has a pattern without a separator, as in separator = ";"')
        if EVERY in path_of(self.column):
            raise ValueError(f"names the list itself; write {self.column!r} where it is read, without each")
        return self

    @property
    def groups(self) -> list[str]:
        """The parts of a value that the pattern names."""
        return _groups(self.pattern) if self.pattern else []


class FillDown(_Part):
    """Columns whose blank cells mean the value of the line above, among lines with the same `by`."""

    by: str
    columns: tuple[str, ...]


class Join(_Part):
    """A second file with more columns of each line: `on` is the column of both that finds them."""

    file: str
    on: str | dict[str, str]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if isinstance(self.on, dict) and len(self.on) != 1:
            raise ValueError("on names one column, or one column and its name in the joined file")
        return self

    @property
    def keys(self) -> tuple[str, str]:
        """The column of the file that finds a line, and that of the joined file."""
        return (self.on, self.on) if isinstance(self.on, str) else next(iter(self.on.items()))


_ABOVE: Final = {
    "each",
    "element",
    "fill_down",
    "join",
    "timezone",
    "delimiter",
    "encoding",
    "decimal",
    "clock",
    "cut",
    "shift",
    "empty",
}


class Section(_Part):
    """How files of one kind are read: our columns, and rules for lines to keep and to skip."""

    cells: dict[str, Cell]
    keep: Rules = Field(default_factory=dict)
    skip: Rules = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if misplaced := sorted(_ABOVE & given.keys()):
            raise ValueError(f"the key {misplaced[0]!r} belongs above the sections")
        rules = {name: given[name] for name in ("keep", "skip") if name in given}
        return {**rules, "cells": {name: cell for name, cell in given.items() if name not in rules}}


class Recipe(_Part):
    """How a shop's own file is read. `keep` and `skip` are rules for the lines of files of every kind."""

    encoding: str | None = None
    delimiter: str | None = None
    columns: tuple[str, ...] | None = None
    decimal: Literal[".", ","] | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    clock: Literal["file", "none"] = "file"
    cut: AwareDatetime | None = None
    shift: Literal["none", "cut"] = "none"
    each: Each | None = None
    element: Annotated[str, Field(min_length=1)] | None = None
    fill_down: FillDown | None = None
    join: Join | None = None
    missing: tuple[str, ...] | None = None
    empty: Empty | None = None
    keep: Rules = Field(default_factory=dict)
    skip: Rules = Field(default_factory=dict)
    events: Section | None = None
    items: Section | None = None
    users: Section | None = None
    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.cut is None and (self.clock == "none" or self.shift == "cut"):
            raise ValueError('clock = "none" and shift = "cut" need a cut, as in cut = 2011-12-10T00:00:00Z')
        for kind in Kind:
            section = self.section(kind)
            if section is not None:
                _check(kind, section, timeless=self.clock == "none")
        return self

    def section(self, kind: Kind) -> Section | None:
        """The section for files of this kind, if the recipe has one."""
        found: Section | None = getattr(self, kind.value)
        return found

    def joined_file(self, beside: Path) -> Path | None:
        """The joined file: beside the file that is loaded, or else beside the recipe."""
        if self.join is None:
            return None
        found = beside.parent / self.join.file
        return found if found.exists() or self._folder is None else self._folder / self.join.file

    def moved(self, now: datetime) -> timedelta:
        """How far all times are moved: by whole weeks, so that weekdays stay and the cut is not later than `now`."""
        return timedelta() if self.shift == "none" or self.cut is None else weeks_between(self.cut, now)


def read_recipe(path: Path, kind: Kind) -> Recipe:
    """The recipe in the file, which must have a section for the kind.

    Raises WrongRecipe naming the wrong key.
    """
    try:
        text = path.read_text("utf-8")
        recipe = Recipe.model_validate(tomllib.loads(text))
    except OSError as error:
        raise WrongRecipe(f"{path}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongRecipe(f"{path}: it is not TOML: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise WrongRecipe(f"{path}: {toml_fault(error, text)}") from None
    except ValidationError as error:
        raise WrongRecipe(f"{path}: {_fault(error, text)}") from None
    if recipe.section(kind) is None:
        raise WrongRecipe(f"{path}: it has no section [{kind}]")
    recipe._folder = path.parent
    return recipe


def _check(kind: Kind, section: Section, *, timeless: bool) -> None:
    made = ["occurredAt"] if timeless and kind == Kind.EVENTS else []
    if made and "occurredAt" in section.cells:
        raise ValueError(f'[{kind}] has an occurredAt, but clock = "none"')
    try:
        check_columns(kind, [*section.cells, *made])
    except WrongFile as error:
        raise ValueError(f"[{kind}]: {error}") from None


def _fault(error: ValidationError, text: str) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return recipe_fault(first, text, _keys_at(first["loc"][:-1]))


def _keys_at(steps: Sequence[int | str]) -> Iterable[str]:
    """The keys that a table of the recipe may have."""
    model: type[BaseModel] = Recipe
    for step in steps:
        field = model.model_fields.get(str(step))
        if field is not None:
            model = next(_models(field.annotation), model)
    return model.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
