"""What a shop may set for a placement. The model is the source for files, GraphQL and what is stored."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from core.amounts import Currency, ExactAmount, read_decimal
from core.contract import Id
from core.errors import InvalidInput
from core.refusals import bounded, path_of, unknown_field, words_of
from core.texts import LONGEST_TEXT
from engine.catalogue.filter_documents import MAX_VALUES, filter_of
from engine.catalogue.filters import Filter
from engine.reasons.texts import WrongReasonTexts, read_texts

MOST_BANDS: Final = 50  # price bands, each of one market
OWN: Final = "OWN"  # the share of a list that is for own items: as the person buys
MOST_EXPLORED: Final = 0.3  # of the places of a list
MOST_FAULTS: Final = 20  # that one answer names
MOST_UNNAMED: Final = 20  # items that a placement lists where a request does not say how many: it is charged for these

ModelT = TypeVar("ModelT", bound=BaseModel)


def _read_share(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


def _read_repeat_share(value: object) -> object:
    if value is None or value == OWN:
        return value
    number = float(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= 1:
        raise ValueError(f'must be a number from 0 to 1, or "{OWN}"')
    return number


_Name = Annotated[str, StringConstraints(strict=True, max_length=LONGEST_TEXT, pattern=r"^[^\x00]*$")]
_Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False), BeforeValidator(read_decimal)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_read_share)]
_SHAPE: Final = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class WrongSettings(InvalidInput):
    """The settings of the placement are wrong. `faults` has an error for each field."""

    def __init__(self, faults: Sequence[InvalidInput]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults), faults[0].field)
        self.faults = faults


class ListKind(StrEnum):
    """What a list has."""

    PERSONAL = "PERSONAL"
    RECENTLY_VIEWED = "RECENTLY_VIEWED"
    BUY_AGAIN = "BUY_AGAIN"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"
    ALTERNATIVES = "ALTERNATIVES"
    NEW_FOR_YOU = "NEW_FOR_YOU"
    ON_SALE = "ON_SALE"
    POPULAR = "POPULAR"
    TRENDING = "TRENDING"


class Repeat(StrEnum):
    """What becomes of the items that a person bought."""

    ALLOWED = "ALLOWED"
    DUE_ONLY = "DUE_ONLY"
    HIDDEN = "HIDDEN"


class FallbackSource(StrEnum):
    """Items that nothing of the person speaks for."""

    POPULAR = "POPULAR"
    TRENDING = "TRENDING"
    BOUGHT_BY_OTHERS = "BOUGHT_BY_OTHERS"
    NEW = "NEW"


class PriceRange(BaseModel):
    """From `min` to `max`."""

    model_config = _SHAPE
    min: _Price | None = None
    max: _Price | None = None


class AttributeFilter(BaseModel):
    """An attribute and its wanted values."""

    model_config = _SHAPE
    key: _Name
    values: tuple[_Name, ...] = Field(max_length=MAX_VALUES)


class ItemFilter(BaseModel):
    """Which items a list may contain, as the ItemFilter of GraphQL."""

    model_config = _SHAPE
    ids: tuple[Id, ...] | None = Field(None, max_length=MAX_VALUES)
    categories: tuple[_Name, ...] | None = Field(None, max_length=MAX_VALUES)
    brands: tuple[_Name, ...] | None = Field(None, max_length=MAX_VALUES)
    price: PriceRange | None = None
    available: StrictBool | None = None
    attributes: tuple[AttributeFilter, ...] | None = Field(None, max_length=MAX_VALUES)
    not_: Self | None = Field(None, alias="not")
    any_of: tuple[Self, ...] | None = Field(None, max_length=MAX_VALUES)

    def read(self) -> Filter:
        """The engine's filter. Raises InvalidInput when it has too many values or levels, or an empty range."""
        return filter_of(self.model_dump(by_alias=True, exclude_none=True))


class PriceBand(BaseModel):
    """The prices that are listed in one market, both ends included; the market None is every other one."""

    model_config = _SHAPE
    market: Id | None = None
    from_: ExactAmount | None = Field(None, alias="from")
    to: ExactAmount | None = None
    currency: Currency | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.from_ is None and self.to is None:
            raise ValueError("needs from or to")
        if self.from_ is not None and self.to is not None and self.from_ > self.to:
            raise ValueError("has no price in it: from is greater than to")
        return self


class PlacementSettings(BaseModel):
    """What the lists of a placement are like. Every default is a list as it is without settings."""

    model_config = _SHAPE
    list: ListKind = ListKind.PERSONAL
    first: Annotated[StrictInt, Field(ge=1, le=MOST_UNNAMED)] | None = None
    filter: ItemFilter | None = None
    price: tuple[PriceBand, ...] = Field((), max_length=MOST_BANDS)
    repeat: Repeat = Repeat.ALLOWED
    fallback: tuple[FallbackSource, ...] = Field((), max_length=len(FallbackSource))
    texts: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    diversity: _Share = 0.0
    repeat_share: Annotated[float | Literal["OWN"] | None, PlainValidator(_read_repeat_share)] = None
    explore: Annotated[_Share, Field(le=MOST_EXPLORED)] = 0.0

    @field_validator("repeat")
    @classmethod
    def _check_repeat(cls, repeat: Repeat, info: ValidationInfo) -> Repeat:
        if repeat is Repeat.HIDDEN and info.data.get("list") is ListKind.BUY_AGAIN:
            raise ValueError("HIDDEN leaves nothing of the list BUY_AGAIN")
        return repeat

    @field_validator("filter")
    @classmethod
    def _check_filter(cls, filter: ItemFilter | None) -> ItemFilter | None:
        return check_filter(filter)

    @field_validator("price")
    @classmethod
    def _check_price(cls, price: tuple[PriceBand, ...]) -> tuple[PriceBand, ...]:
        if len({band.market for band in price}) < len(price):
            raise ValueError("has a market twice")
        return price

    @field_validator("fallback")
    @classmethod
    def _check_fallback(cls, fallback: tuple[FallbackSource, ...]) -> tuple[FallbackSource, ...]:
        if len(set(fallback)) < len(fallback):
            raise ValueError("has a source twice")
        return fallback

    @field_validator("texts")
    @classmethod
    def _check_texts(cls, texts: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        try:
            read_texts(texts, "texts")
        except WrongReasonTexts as error:
            raise ValueError(str(error).removeprefix("texts, ").removeprefix("texts: ")) from None
        return texts

    def as_json(self) -> dict[str, Any]:
        """As it is stored: what differs from the defaults."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def read_settings(document: object) -> PlacementSettings:
    """The settings in a JSON document, or one of TOML with decimals. Raises WrongSettings, naming every wrong field."""
    return read_document(PlacementSettings, document)


def read_document(model: type[ModelT], document: object) -> ModelT:
    """The settings of a model in a document. Raises WrongSettings, naming every wrong field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MOST_FAULTS]
    faults = []
    for each in found:
        where = path_of(each["loc"])
        words = unknown_field(where) if each["type"] == "extra_forbidden" else f"{where} {_words(each)}".strip()
        faults.append(InvalidInput(bounded(words), where or None))
    raise WrongSettings(faults)


def _words(error: Any) -> str:
    if error["type"] == "enum":
        return f"must be one of {error['ctx']['expected']}".replace("'", "")
    return words_of(error)


def check_filter(filter: ItemFilter | None) -> ItemFilter | None:
    """The filter itself. Raises ValueError when it has too many values or levels, or an empty range."""
    try:
        if filter is not None:
            filter.read()
    except InvalidInput as error:
        raise ValueError(f"is refused: {error}") from None
    return filter
