"""What a segment may say of who belongs to it. The model is the source for files, GraphQL and what is stored."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from engine.placements.settings import read_document
from ml.hazard.forecasts import LONGEST
from ml.rfm import SEGMENTS

LONGEST_NAME: Final = 100  # characters
LARGEST: Final = 1e12


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


class Range(BaseModel):
    """From `min` to `max`, both included; without both it says nothing."""

    model_config = _SHAPE
    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("has no number in it: min is above max")
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
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("has no number in it: min is above max")
        return self


class NextPurchase(Churn):
    """How probable it is that they order within some days."""

    within: Days = 30


class Where(BaseModel):
    """Who belongs to a segment: users for whom every condition that is given holds."""

    model_config = _SHAPE
    rfm: tuple[RfmSegment, ...] = ()
    recency: Range = Range()
    orders: Range = Range()
    spent: Range = Range()
    churn: Churn | None = None
    next_purchase: NextPurchase | None = None

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
        return self


class SegmentSettings(BaseModel):
    """One segment."""

    model_config = _SHAPE
    name: Annotated[str, StringConstraints(strict=True, max_length=LONGEST_NAME), AfterValidator(_printable)]
    where: Where

    def as_json(self) -> dict[str, Any]:
        """As it is stored: what says something."""
        found: dict[str, Any] = _without(None, {}, [])(self.model_dump(mode="json", by_alias=True))
        return found


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
