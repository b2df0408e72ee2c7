"""What a rule may say. The model is the source for files, GraphQL and what is stored."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from core.contract import Id
from core.moments import read_moment
from core.texts import LONGEST_TEXT
from engine.placements.settings import FieldError, ItemFilter, check_filter, read_document
from engine.rules.hours import Hours, TimeZone, Weekday
from engine.rules.queries import LONGEST_QUERY, words_in
from engine.segments.defining import is_segment_id

MOST_NAMES: Final = 20  # placements, markets, searches or segments that a rule names
MOST_PAGES: Final = 500  # items or categories of pages that a rule names
LAST_POSITION: Final = 100  # that an item can be pinned to
GREATEST_FACTOR: Final = 1_000.0
LONGEST_BLOCK: Final = 100  # places that the slots of a rule are counted in
MOST_RANGES: Final = 5  # of numbers that a rule looks at

_SHAPE: Final = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must have printable characters only")
    return text


def _segment_id(text: str) -> str:
    if not is_segment_id(text):
        raise ValueError("must be the id of a segment")
    return text


def _number(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


def _has_words(text: str) -> str:
    if not words_in(text):
        raise ValueError("must have a word")
    return text


_Whole = Annotated[int, Field(strict=True)]
_Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
_Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_TEXT, pattern=r"^[^\x00]*$")]
_Query = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=LONGEST_QUERY, pattern=r"^[^\x00]*$"),
    AfterValidator(_has_words),
]
_Placement = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64), AfterValidator(_printable)]
_Segment = Annotated[str, StringConstraints(strict=True), AfterValidator(_segment_id)]
_Moment = Annotated[datetime, BeforeValidator(read_moment)]


class RuleKind(StrEnum):
    """What a rule does."""

    PIN = "PIN"
    BOOST = "BOOST"
    BURY = "BURY"
    EXCLUDE = "EXCLUDE"
    INCLUDE_ONLY = "INCLUDE_ONLY"
    SLOTS = "SLOTS"
    AT_MOST = "AT_MOST"


class Per(StrEnum):
    """What items of a list have in common."""

    BRAND = "BRAND"
    CATEGORY = "CATEGORY"
    GROUP = "GROUP"
    ATTRIBUTE = "ATTRIBUTE"


_NEEDS: Final = {
    RuleKind.PIN: ("item_id", "position"),
    RuleKind.BOOST: ("factor",),
    RuleKind.BURY: ("factor",),
    RuleKind.EXCLUDE: (),
    RuleKind.INCLUDE_ONLY: (),
    RuleKind.SLOTS: ("count", "of"),
    RuleKind.AT_MOST: ("count", "per"),
}
_OWN: Final = ("item_id", "position", "factor", "count", "of", "per", "attribute")
_MAY: Final = dict.fromkeys((RuleKind.BOOST, RuleKind.BURY, RuleKind.AT_MOST), ("attribute",))


class When(BaseModel):
    """When a rule holds: in lists that meet every condition that is set."""

    model_config = _SHAPE
    placements: tuple[_Placement, ...] = Field((), max_length=MOST_NAMES)
    markets: tuple[Id, ...] = Field((), max_length=MOST_NAMES)
    item_ids: tuple[Id, ...] = Field((), max_length=MOST_PAGES)
    categories: tuple[_Text, ...] = Field((), max_length=MOST_PAGES)
    queries: tuple[_Query, ...] = Field((), max_length=MOST_NAMES)
    segments: tuple[_Segment, ...] = Field((), max_length=MOST_NAMES)
    from_: _Moment | None = Field(None, alias="from")
    to: _Moment | None = None
    weekdays: tuple[Weekday, ...] = Field((), max_length=len(Weekday))
    hours: Hours | None = None
    time_zone: TimeZone | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.recurs != (self.time_zone is not None):
            words = "weekdays and hours need timeZone" if self.recurs else "timeZone needs weekdays or hours"
            raise FieldError(words, "timeZone")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise FieldError("never holds: from is not before to", "to")
        return self

    @property
    def window(self) -> tuple[datetime | None, datetime | None]:
        """From when, and until before when."""
        return self.from_, self.to

    @property
    def recurs(self) -> bool:
        """Whether it holds on some days or in some hours only."""
        return bool(self.weekdays) or self.hours is not None

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone of its days and hours."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)


class Range(BaseModel):
    """Numbers of an attribute, both ends included."""

    model_config = _SHAPE
    attribute: _Text
    min: _Number | None = None
    max: _Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is None and self.max is None:
            raise FieldError("needs min or max", "min")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise FieldError("has no number in it: min is greater than max", "max")
        return self


class RuleSettings(BaseModel):
    """One rule."""

    model_config = _SHAPE
    kind: RuleKind
    filter: ItemFilter | None = None
    ranges: tuple[Range, ...] = Field((), max_length=MOST_RANGES)
    added_within: _Whole | None = Field(None, ge=1, le=365)  # days
    item_id: Id | None = None
    position: _Whole | None = Field(None, ge=1, le=LAST_POSITION)
    factor: _Number | None = Field(None, ge=1, le=GREATEST_FACTOR)
    count: _Whole | None = Field(None, ge=1, le=LONGEST_BLOCK)
    of: _Whole | None = Field(None, ge=1, le=LONGEST_BLOCK)
    per: Per | None = None
    attribute: _Text | None = None
    when: When = When()
    priority: _Whole = Field(0, ge=-1_000, le=1_000)

    @field_validator("filter")
    @classmethod
    def _check_filter(cls, filter: ItemFilter | None) -> ItemFilter | None:
        return check_filter(filter)

    @model_validator(mode="after")
    def _check(self) -> Self:
        needed, given = _NEEDS[self.kind], [name for name in _OWN if getattr(self, name) is not None]
        if missing := [name for name in needed if name not in given]:
            raise FieldError(f"{self.kind} needs {' and '.join(map(to_camel, missing))}", to_camel(missing[0]))
        if extra := [name for name in given if name not in (*needed, *_MAY.get(self.kind, ()))]:
            raise FieldError(f"{self.kind} has no {' and no '.join(map(to_camel, extra))}", to_camel(extra[0]))
        chosen = self.filter not in (None, ItemFilter()) or self.added_within is not None or bool(self.ranges)
        if self.kind is RuleKind.PIN and (chosen or self.filter is not None):
            raise FieldError("PIN names one item: it has no filter, no ranges and no addedWithin", "filter")
        scales = self.kind in (RuleKind.BOOST, RuleKind.BURY) and self.attribute is not None
        if self.kind not in (RuleKind.PIN, RuleKind.AT_MOST) and not chosen and not scales:
            raise FieldError(f"{self.kind} needs filter, ranges or addedWithin; an empty filter is none", "filter")
        if self.kind is RuleKind.AT_MOST and (self.per is Per.ATTRIBUTE) != (self.attribute is not None):
            raise FieldError("AT_MOST has attribute where per is ATTRIBUTE, and only there", "attribute")
        if self.kind is RuleKind.SLOTS and (self.count or 0) > (self.of or 0):
            raise FieldError("SLOTS needs a count that is not greater than of", "count")
        return self

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes that it reads, beside those of its filter."""
        named = {each.attribute for each in self.ranges}
        return frozenset(named if self.attribute is None else named | {self.attribute})

    def as_json(self) -> dict[str, Any]:
        """As it is stored: what differs from the defaults."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def read_rule(document: object) -> RuleSettings:
    """The rule in a JSON document, or one of TOML. Raises WrongSettings, naming every wrong field."""
    return read_document(RuleSettings, document)
