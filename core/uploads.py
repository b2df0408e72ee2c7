"""The contract of uploads: what a shop may say about its items and users. Every patch is checked by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Required, TypedDict, TypeVar, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from core import clock
from core.amounts import Currency, ExactAmount
from core.contract import Id, check_not_ahead, check_user_id, plain_json
from core.errors import InvalidInput
from core.moments import read_moment
from core.refusals import bounded, first_error, path_of, unknown_field, words_of

LARGEST_JSON: Final = 16_384  # bytes of one item's attributes or one user's traits
MOST_CATEGORIES: Final = 100  # of an item
MOST_OFFERS: Final = 500  # of an item
_NO_NUL: Final = r"^[^\x00]*$"
_SCRIPTS: Final = frozenset({"javascript", "data", "vbscript"})


@dataclass(frozen=True, slots=True)
class Offer:
    """The price and availability of an item in one market; the market None is the default one."""

    market: str | None
    price: Decimal | None
    list_price: Decimal | None
    currency: str | None
    available: bool


class ItemPatch(TypedDict, total=False):
    """A change of one item: an absent field keeps its value, None clears it."""

    id: Required[str]
    updated_at: Required[datetime]
    group_id: str | None
    title: str | None
    description: str | None
    categories: Sequence[str] | None
    brand: str | None
    image_url: str | None
    url: str | None
    app_url: str | None
    attributes: Mapping[str, Any] | None
    offers: Sequence[Offer] | None


class UserPatch(TypedDict, total=False):
    """A change of one user: absent traits keep their value, None clears them."""

    id: Required[str]
    updated_at: Required[datetime]
    traits: Mapping[str, Any] | None


def _is_no_script(link: str) -> str:
    if link.partition(":")[0].lower() in _SCRIPTS:
        raise ValueError("must not be a script")
    return link


def _is_plain_json(value: dict[str, Any]) -> dict[str, Any]:
    return plain_json(value, LARGEST_JSON)


def _one_per_market(offers: "tuple[OfferUpload, ...]") -> "tuple[OfferUpload, ...]":
    if len({offer.market for offer in offers}) < len(offers):
        raise ValueError("names a market twice")
    return offers


Line = Annotated[str, StringConstraints(strict=True, max_length=1_000, pattern=_NO_NUL)]
LongText = Annotated[str, StringConstraints(strict=True, max_length=20_000, pattern=_NO_NUL)]
Link = Annotated[str, StringConstraints(strict=True, max_length=2_000, pattern=r"^(?i:https?)://[^\x00-\x20\x7f]+$")]
AppLink = Annotated[
    str,
    StringConstraints(strict=True, max_length=2_000, pattern=r"^(?i:[a-z][a-z0-9+.-]*)://[^\x00-\x20\x7f]+$"),
    AfterValidator(_is_no_script),
]
Moment = Annotated[AwareDatetime, BeforeValidator(read_moment)]
PlainJson = Annotated[dict[str, Any], AfterValidator(_is_plain_json)]


class _Upload(BaseModel):
    """No value is converted: a text is no number and no time in seconds, `1` and `"yes"` are not `true`."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class OfferUpload(_Upload):
    """One offer as a sender writes it."""

    market: Id | None = None
    price: ExactAmount | None = None
    list_price: ExactAmount | None = None
    currency: Currency | None = None
    available: StrictBool = True


Categories = Annotated[
    tuple[Annotated[Line, Field(min_length=1)], ...], Field(max_length=MOST_CATEGORIES, fail_fast=True)
]
Offers = Annotated[
    tuple[OfferUpload, ...], Field(max_length=MOST_OFFERS, fail_fast=True), AfterValidator(_one_per_market)
]


class ItemUpload(_Upload):
    """One item as a sender writes it."""

    id: Id
    updated_at: Moment | None = None
    group_id: Id | None = None
    title: Line | None = None
    description: LongText | None = None
    categories: Categories | None = None
    brand: Line | None = None
    image_url: Link | None = None
    url: Link | None = None
    app_url: AppLink | None = None
    attributes: PlainJson | None = None
    offers: Offers | None = None


class UserUpload(_Upload):
    """One user as a sender writes it."""

    id: Id
    updated_at: Moment | None = None
    traits: PlainJson | None = None


def read_item(raw: Mapping[str, Any]) -> ItemPatch:
    """The patch in `raw` (camelCase): only the fields it names; `updatedAt` is now unless given.

    Raises InvalidInput naming the field as the sender writes it.
    """
    upload = _checked(ItemUpload, raw)
    patch = _given(upload)
    if upload.offers is not None:
        patch["offers"] = tuple(Offer(**dict(offer)) for offer in upload.offers)
    return cast("ItemPatch", patch)


def read_user(raw: Mapping[str, Any]) -> UserPatch:
    """The patch of a user in `raw`; as `read_item`."""
    upload = _checked(UserUpload, raw)
    check_user_id(upload.id, "id")
    return cast("UserPatch", _given(upload))


Upload = TypeVar("Upload", ItemUpload, UserUpload)
_NAMES: Final = {
    kind: frozenset(field.alias or name for name, field in kind.model_fields.items())
    for kind in (ItemUpload, OfferUpload, UserUpload)
}


def _given(upload: ItemUpload | UserUpload) -> dict[str, Any]:
    """The fields the sender gave, and `updated_at`."""
    fields = {name: getattr(upload, name) for name in upload.model_fields_set}
    return {**fields, "updated_at": upload.updated_at or clock.now()}


def _checked(kind: type[Upload], raw: Mapping[str, Any]) -> Upload:
    _check_names(raw, _NAMES[kind], ())
    for index, offer in enumerate(_offers(raw)):
        _check_names(offer, _NAMES[OfferUpload], ("offers", index))
    try:
        upload = kind.model_validate(raw)
    except ValidationError as error:
        first = first_error(error)
        where = path_of(first["loc"])
        raise InvalidInput(bounded(f"{where} {words_of(first)}"), field=where) from None
    if upload.updated_at is not None:
        check_not_ahead(upload.updated_at, clock.now(), "updatedAt")
    return upload


def _offers(raw: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The offers of an element that are objects, as far as they are read."""
    offers = raw.get("offers")
    return (offer for offer in offers[:MOST_OFFERS] if isinstance(offer, dict)) if isinstance(offers, list) else ()


def _check_names(raw: Mapping[str, Any], known: frozenset[str], place: tuple[int | str, ...]) -> None:
    """Refuse an unknown field before any value is checked: there may be very many of them."""
    unknown = next((name for name in raw if name not in known), None)
    if unknown is not None:
        where = path_of([*place, unknown])
        raise InvalidInput(unknown_field(where), field=where)
