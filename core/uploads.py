"""The contract of uploads: what a shop may say about its items and users. Every patch is checked by itself."""

from collections.abc import Iterator, Mapping, Sequence
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
from core.moments import LONGEST_MOMENT, MOMENT_PATTERN, read_moment
from core.refusals import bounded, first_error, path_of, unknown_field, words_of

LARGEST_JSON: Final = 16_384  # bytes of one item's attributes or one user's traits in one patch
LARGEST_STORED: Final = 65_536  # bytes of the same after many patches, as Postgres writes them
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


class OfferPatch(TypedDict, total=False):
    """A change of the offer in one market: an absent field keeps its value, None clears it.

    An offer without `available` is available. An offer whose four fields are all cleared is removed.
    """

    market: Required[str | None]
    price: Decimal | None
    list_price: Decimal | None
    currency: str | None
    available: bool | None


class ItemPatch(TypedDict, total=False):
    """A change of one item: an absent field keeps its value, None clears it.

    `attributes` change key by key, `offers` market by market and field by field; an `Offer` names all fields.
    """

    id: Required[str]
    updated_at: datetime  # absent: when it is stored
    group_id: str | None
    title: str | None
    description: str | None
    categories: Sequence[str] | None
    brand: str | None
    image_url: str | None
    url: str | None
    app_url: str | None
    attributes: Mapping[str, Any] | None
    offers: Sequence[OfferPatch | Offer] | None


class UserPatch(TypedDict, total=False):
    """A change of one user: a trait that is not named keeps its value, None clears it, None for `traits` all."""

    id: Required[str]
    updated_at: datetime  # absent: when it is stored
    traits: Mapping[str, Any] | None


def _is_no_script(link: str) -> str:
    if link.partition(":")[0].lower() in _SCRIPTS:
        raise ValueError("must not be a script")
    return link


def _is_plain_json(value: dict[str, Any]) -> dict[str, Any]:
    return plain_json(value, LARGEST_JSON)


def _money(value: object) -> object:
    return value if value is None or isinstance(value, dict) else {"amount": value}


def _picture(value: object) -> object:
    return value if value is None or isinstance(value, dict) else {"url": value}


def _one_per_market(offers: "tuple[OfferUpload, ...]") -> "tuple[OfferUpload, ...]":
    if len({offer.market for offer in offers}) < len(offers):
        raise ValueError("names a market twice")
    return offers


Line = Annotated[str, StringConstraints(strict=True, max_length=1_000, pattern=_NO_NUL)]
LongText = Annotated[str, StringConstraints(strict=True, max_length=20_000, pattern=_NO_NUL)]
Link = Annotated[
    str, StringConstraints(strict=True, max_length=2_000, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f]+$")
]
AppLink = Annotated[
    str,
    StringConstraints(strict=True, max_length=2_000, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20\x7f]+$"),
    AfterValidator(_is_no_script),
]
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(
        read_moment,
        json_schema_input_type=Annotated[
            str, Field(pattern=MOMENT_PATTERN, json_schema_extra={"format": "date-time"}, max_length=LONGEST_MOMENT)
        ],
    ),
]
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
    available: StrictBool | None = None


class MoneyUpload(_Upload):
    """An amount of money, as it is read; a plain amount is short for it."""

    amount: ExactAmount
    currency: Currency | None = None


class ImageUpload(_Upload):
    """A picture, as it is read; a plain link is short for it."""

    url: Link


Categories = Annotated[
    tuple[Annotated[Line, Field(min_length=1)], ...], Field(max_length=MOST_CATEGORIES, fail_fast=True)
]
Offers = Annotated[
    tuple[OfferUpload, ...], Field(max_length=MOST_OFFERS, fail_fast=True), AfterValidator(_one_per_market)
]

Money = Annotated[MoneyUpload, BeforeValidator(_money, json_schema_input_type=MoneyUpload | ExactAmount)]
Picture = Annotated[ImageUpload, BeforeValidator(_picture, json_schema_input_type=ImageUpload | Link)]


class ItemUpload(_Upload):
    """One item as a sender writes it. Its own price, currency and availability are those of the offer in `market`."""

    id: Id
    updated_at: Moment | None = None
    group_id: Id | None = None
    title: Line | None = None
    description: LongText | None = None
    categories: Categories | None = None
    brand: Line | None = None
    image: Picture | None = None
    image_url: Link | None = None
    url: Link | None = None
    app_url: AppLink | None = None
    attributes: PlainJson | None = None
    market: Id | None = None
    price: Money | None = None
    list_price: Money | None = None
    currency: Currency | None = None
    available: StrictBool | None = None
    offers: Offers | None = None


class UserUpload(_Upload):
    """One user as a sender writes it."""

    id: Id
    updated_at: Moment | None = None
    traits: PlainJson | None = None


def read_item(raw: Mapping[str, Any]) -> ItemPatch:
    """The patch in `raw` (camelCase): only the fields it names.

    Raises InvalidInput naming the field as the sender writes it.
    """
    upload = _checked(ItemUpload, raw)
    patch = _given(upload, _SHORT)
    if "image" in upload.model_fields_set:
        if "image_url" in patch:
            raise InvalidInput("imageUrl cannot be given together with image", "imageUrl")
        patch["image_url"] = upload.image and upload.image.url
    if upload.offers is not None:
        patch["offers"] = tuple({"market": offer.market, **_given(offer)} for offer in upload.offers)
    named = [name for name in _OFFERED if name in upload.model_fields_set]
    if named:
        if "offers" in patch:
            raise InvalidInput(f"offers cannot be given together with {to_camel(named[0])}", "offers")
        patch["offers"] = (_offer_of(upload, named),)
    return cast("ItemPatch", patch)


def read_user(raw: Mapping[str, Any]) -> UserPatch:
    """The patch of a user in `raw`; as `read_item`."""
    upload = _checked(UserUpload, raw)
    check_user_id(upload.id, "id")
    return cast("UserPatch", _given(upload))


Upload = TypeVar("Upload", ItemUpload, UserUpload)
_OFFERED: Final = ("price", "list_price", "currency", "available")  # of an item, for the offer in its market
_SHORT: Final = frozenset({*_OFFERED, "market", "image"})
_NAMES: Final[Mapping[type[_Upload], frozenset[str]]] = {
    kind: frozenset(field.alias or name for name, field in kind.model_fields.items())
    for kind in (ItemUpload, OfferUpload, MoneyUpload, ImageUpload, UserUpload)
}
_INSIDE: Final[Mapping[str, type[_Upload]]] = {"price": MoneyUpload, "listPrice": MoneyUpload, "image": ImageUpload}
_PLAIN: Final = {"price": "amount", "listPrice": "amount", "image": "url"}  # what a plain value stands for


def _given(upload: _Upload, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fields that the sender gave. A time that is null was not given."""
    given = {name: getattr(upload, name) for name in upload.model_fields_set - without}
    if given.get("updated_at", ...) is None:
        del given["updated_at"]
    return given


def _offer_of(upload: ItemUpload, named: Sequence[str]) -> OfferPatch:
    """The offer in the market of an item, from the item's own fields."""
    offer: dict[str, Any] = {"market": upload.market}
    currencies: dict[str, str | None] = {}
    for name in named:
        value = getattr(upload, name)
        offer[name] = value.amount if isinstance(value, MoneyUpload) else value
        if isinstance(value, MoneyUpload) and "currency" in value.model_fields_set:
            currencies[f"{to_camel(name)}.currency"] = value.currency
        elif name == "currency":
            currencies[name] = value
    first = next(iter(currencies), None)
    for name, currency in currencies.items():
        if first is not None and currency != currencies[first]:
            raise InvalidInput(f"{name} must be equal to {first}", name)
        offer["currency"] = currency
    return cast("OfferPatch", offer)


def _checked(kind: type[Upload], raw: Mapping[str, Any]) -> Upload:
    _check_names(raw, _NAMES[kind], ())
    if kind is ItemUpload:
        for place, inside, value in _objects(raw):
            _check_names(value, _NAMES[inside], place)
    try:
        upload = kind.model_validate(raw)
    except ValidationError as error:
        first = first_error(error)
        where = path_of(_as_sent(first["loc"], raw))
        raise InvalidInput(bounded(f"{where} {words_of(first)}"), field=where) from None
    if upload.updated_at is not None:
        check_not_ahead(upload.updated_at, clock.now(), "updatedAt")
    return upload


def _as_sent(path: tuple[int | str, ...], raw: Mapping[str, Any]) -> tuple[int | str, ...]:
    """The path of a field, without what a plain value stands for."""
    name = str(path[0]) if path else ""
    plain = path[1:] == (_PLAIN.get(name),) and not isinstance(raw.get(name), dict)
    return path[:1] if plain else path


def _objects(raw: Mapping[str, Any]) -> Iterator[tuple[tuple[int | str, ...], type[_Upload], Mapping[str, Any]]]:
    """The objects inside an item, with their places and kinds, as far as they are read."""
    for name, kind in _INSIDE.items():
        if isinstance(value := raw.get(name), dict):
            yield (name,), kind, value
    offers = raw.get("offers")
    for index, offer in enumerate(offers[:MOST_OFFERS] if isinstance(offers, list) else ()):
        if isinstance(offer, dict):
            yield ("offers", index), OfferUpload, offer


def _check_names(raw: Mapping[str, Any], known: frozenset[str], place: tuple[int | str, ...]) -> None:
    """Refuse an unknown field before any value is checked: there may be very many of them."""
    unknown = next((name for name in raw if name not in known), None)
    if unknown is not None:
        where = path_of([*place, unknown])
        raise InvalidInput(unknown_field(where), field=where)
