"""What a segment may say of who belongs to it. The model is the source for files, GraphQL and what is stored."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from core.events import EventType
from core.texts import LONGEST_TEXT
from engine.placements.settings import read_document
from ml.affinity.affinities import Dimension
from ml.hazard.forecasts import LONGEST
from ml.rfm import SEGMENTS

LONGEST_NAME: Final = 100  # characters
MOST_LEVELS: Final = 3  # of conditions inside conditions, the outermost counted
MOST_CONDITIONS: Final = 50  # all levels together
MOST_COUNTS: Final = 10  # conditions on events and affinities, all levels together: each reads many events
MOST_VALUES: Final = 100  # of a trait, and categories or brands of events
LARGEST: Final = 1e12
MOST_EVENTS: Final = 1_000_000


def _plain(name: str) -> str:
    return name.rstrip("_")


def _camel(name: str) -> str:
    return to_camel(_plain(name))


_SHAPE: Final = ConfigDict(
    alias_generator=AliasGenerator(validation_alias=_camel, serialization_alias=_plain),
    populate_by_name=True,
    extra="forbid",
    frozen=True,
)


def _number(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


def _as_text(value: object) -> object:
    """A value of a trait as Postgres writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | Decimal) else value


def _days(value: object) -> object:
    if isinstance(value, timedelta):
        if value % timedelta(days=1):
            raise ValueError("takes whole days")
        return value.days
    return value


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"must have 1 to {LONGEST_NAME} printable characters")
    return text


Number = Annotated[float, BeforeValidator(_number), Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Probability = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]
Share = Probability
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_TEXT, pattern=r"^[^\x00]*$")]
Value = Annotated[Text, BeforeValidator(_as_text)]
Days = Annotated[int, Field(strict=True, ge=1, le=LONGEST), BeforeValidator(_days)]


class RfmSegment(StrEnum):
    """The same as `ml.rfm.SEGMENTS`."""

    CHAMPION = "CHAMPION"
    LOYAL = "LOYAL"
    PROMISING = "PROMISING"
    NEW = "NEW"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    AT_RISK = "AT_RISK"
    CANNOT_LOSE = "CANNOT_LOSE"
    HIBERNATING = "HIBERNATING"


assert tuple(RfmSegment) == SEGMENTS


def _check_bounds(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError("has no number in it: min is above max")


class Range(BaseModel):
    """From `min` to `max`, both included; without both it says nothing."""

    model_config = _SHAPE
    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_bounds(self.min, self.max)
        return self


class Churn(BaseModel):
    """How probable it is that they do not order within some days."""

    model_config = _SHAPE
    within: Days = 90
    min: Probability | None = None
    max: Probability | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min or max, a probability")
        _check_bounds(self.min, self.max)
        return self


class NextPurchase(Churn):
    """How probable it is that they order within some days."""

    within: Days = 30


class TraitCondition(BaseModel):
    """A trait of the user: one of these values, a number from `min` to `max`, or whether it is there at all."""

    model_config = _SHAPE
    key: Text
    values: tuple[Value, ...] = Field((), max_length=MOST_VALUES)
    min: Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)] | None = None
    max: Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)] | None = None
    exists: StrictBool | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        bounded = self.min is not None or self.max is not None
        if [bool(self.values), bounded, self.exists is not None].count(True) != 1:
            raise ValueError("needs values, or min or max, or exists: one of the three")
        _check_bounds(self.min, self.max)
        return self


class AffinityCondition(BaseModel):
    """The share of the user's orders that have an item of a category or brand."""

    model_config = _SHAPE
    by: Dimension
    key: Text
    min: Share | None = None
    max: Share | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min or max, a share of the orders")
        _check_bounds(self.min, self.max)
        return self


class EventCondition(BaseModel):
    """How many events of a type the user has within some days, of items of these categories and brands."""

    model_config = _SHAPE
    type: EventType
    within: Days
    min: Annotated[int, Field(strict=True, ge=0, le=MOST_EVENTS)] | None = None
    max: Annotated[int, Field(strict=True, ge=0, le=MOST_EVENTS)] | None = None
    categories: tuple[Text, ...] = Field((), max_length=MOST_VALUES)
    brands: tuple[Text, ...] = Field((), max_length=MOST_VALUES)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.min and self.max is None:
            raise ValueError("needs a min above 0, or max: a number of events")
        _check_bounds(self.min, self.max)
        return self


class Where(BaseModel):
    """Who belongs to a segment: users for whom every condition that is given holds."""

    model_config = _SHAPE
    rfm: tuple[RfmSegment, ...] = ()
    recency: Range = Range()
    orders: Range = Range()
    spent: Range = Range()
    churn: Churn | None = None
    next_purchase: NextPurchase | None = None
    traits: tuple[TraitCondition, ...] = ()
    affinities: tuple[AffinityCondition, ...] = ()
    events: tuple[EventCondition, ...] = ()
    any_of: tuple["Where", ...] = ()
    not_: "Where | None" = None

    @field_validator("rfm")
    @classmethod
    def _check_rfm(cls, rfm: tuple[RfmSegment, ...]) -> tuple[RfmSegment, ...]:
        if len(set(rfm)) < len(rfm):
            raise ValueError("has a name twice")
        return rfm

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self == Where.model_construct():
            raise ValueError("needs a condition: without one, everybody would belong to the segment")
        if self.levels > MOST_LEVELS:
            raise ValueError(f"may have at most {MOST_LEVELS} levels")
        if sum(each.conditions for each in self.all_levels()) > MOST_CONDITIONS:
            raise ValueError(f"may have at most {MOST_CONDITIONS} conditions")
        if sum(len(each.events) + len(each.affinities) for each in self.all_levels()) > MOST_COUNTS:
            raise ValueError(f"may have at most {MOST_COUNTS} conditions on events and affinities")
        return self

    @property
    def inner(self) -> "tuple[Where, ...]":
        """The conditions inside, a level deeper."""
        return (*self.any_of, *(() if self.not_ is None else (self.not_,)))

    @property
    def levels(self) -> int:
        """How deep conditions are in conditions."""
        return 1 + max((each.levels for each in self.inner), default=0)

    @property
    def conditions(self) -> int:
        """How many conditions this level has."""
        given = (self.rfm, self.churn, self.next_purchase)
        ranges = (self.recency, self.orders, self.spent)
        many = len(self.traits) + len(self.affinities) + len(self.events)
        return sum(map(bool, given)) + sum(each != Range() for each in ranges) + many

    def all_levels(self) -> "Iterator[Where]":
        """These conditions and all inside."""
        yield self
        for each in self.inner:
            yield from each.all_levels()

    @property
    def need_forecast(self) -> bool:
        """Whether a condition is about a forecast."""
        return any(each.churn is not None or each.next_purchase is not None for each in self.all_levels())

    def as_json(self) -> dict[str, Any]:
        """As it is stored: what says something."""
        found: dict[str, Any] = _without(None, {}, [])(self.model_dump(mode="json", by_alias=True))
        return found


class SegmentSettings(BaseModel):
    """One segment."""

    model_config = _SHAPE
    name: Annotated[str, StringConstraints(strict=True, max_length=LONGEST_NAME), AfterValidator(_printable)]
    where: Where

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {"name": self.name, "where": self.where.as_json()}


def _without(*nothing: object) -> Callable[[Any], Any]:
    """What leaves such values out of a document, on all levels."""

    def cleaned(document: Any) -> Any:
        if isinstance(document, Mapping):
            parts = {name: cleaned(value) for name, value in document.items()}
            return {name: value for name, value in parts.items() if value not in nothing}
        return [cleaned(each) for each in document] if isinstance(document, list | tuple) else document

    return cleaned


def read_segment(document: Mapping[str, Any]) -> SegmentSettings:
    """The segment in a JSON document, or one of TOML. Raises WrongSettings, naming every wrong field."""
    return read_document(SegmentSettings, _without(None)(document))
