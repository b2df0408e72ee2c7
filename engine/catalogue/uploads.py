"""What a shop may say of its items and people: every patch judged on its own, so that one bad one spoils no other."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from core import clock
from core.contract import AHEAD, Id, plain_json
from core.currencies import CURRENCIES
from core.errors import InvalidInput
from db.items import ItemPatch, Offer
from db.users import UserPatch

LARGEST_JSON = 16_384  # bytes of one item's attributes or one person's traits
_NO_NUL = r"^[^\x00]*$"


def _money_exists(currency: str) -> str:
    if currency not in CURRENCIES:
        raise ValueError("is not a currency of ISO 4217")
    return currency


def _harmless(link: str) -> str:
    if link.partition(":")[0].lower() in {"javascript", "data", "vbscript"}:
        raise ValueError("must not be a script")
    return link


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    return plain_json(value, LARGEST_JSON)


def _has_a_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies before the year 1 or after the year 9999") from None


def _one_per_market(offers: "tuple[_Offer, ...]") -> "tuple[_Offer, ...]":
    if len({offer.market for offer in offers}) < len(offers):
        raise ValueError("names a market twice")
    return offers


Line = Annotated[str, StringConstraints(max_length=1_000, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=_NO_NUL)]
Link = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^(?i:https?)://[^\x00-\x20\x7f]+$")]
AppLink = Annotated[
    str,
    StringConstraints(max_length=2_000, pattern=r"^(?i:[a-z][a-z0-9+.-]*)://[^\x00-\x20\x7f]+$"),
    AfterValidator(_harmless),
]
Amount = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=4, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, AfterValidator(_has_a_utc)]
PlainJson = Annotated[dict[str, Any], AfterValidator(_plain_json)]


class _Said(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class _Offer(_Said):
    market: Id | None = None
    price: Amount | None = None
    list_price: Amount | None = None
    currency: Annotated[str, AfterValidator(_money_exists)] | None = None
    available: bool = True


class _Item(_Said):
    id: Id
    updated_at: Moment | None = None
    group_id: Id | None = None
    title: Line | None = None
    description: Text | None = None
    categories: Annotated[tuple[Annotated[Line, Field(min_length=1)], ...], Field(max_length=100)] | None = None
    brand: Line | None = None
    image_url: Link | None = None
    url: Link | None = None
    app_url: AppLink | None = None
    attributes: PlainJson | None = None
    offers: Annotated[tuple[_Offer, ...], Field(max_length=500), AfterValidator(_one_per_market)] | None = None


class _User(_Said):
    id: Id
    updated_at: Moment | None = None
    traits: PlainJson | None = None


def read_item(raw: Mapping[str, Any]) -> ItemPatch:
    """The patch a sender means: only fields that `raw` (camelCase) names; `updatedAt` is now unless given.

    Raises InvalidInput naming the field as the sender writes it.
    """
    said = _judged(_Item, raw)
    patch: dict[str, Any] = {name: getattr(said, name) for name in said.model_fields_set}
    if said.offers is not None:
        patch["offers"] = tuple(Offer(**dict(offer)) for offer in said.offers)
    return ItemPatch(**{**patch, "updated_at": said.updated_at or clock.now()})  # type: ignore[typeddict-item]


def read_user(raw: Mapping[str, Any]) -> UserPatch:
    """The patch of a person a sender means; as `read_item`."""
    said = _judged(_User, raw)
    patch: dict[str, Any] = {name: getattr(said, name) for name in said.model_fields_set}
    return UserPatch(**{**patch, "updated_at": said.updated_at or clock.now()})  # type: ignore[typeddict-item]


Said = TypeVar("Said", _Item, _User)


def _judged(kind: type[Said], raw: Mapping[str, Any]) -> Said:
    try:
        said = kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidInput(_words(first), field=_place(first["loc"])) from None
    if said.updated_at is not None and said.updated_at > clock.now() + AHEAD:
        raise InvalidInput("updatedAt lies more than 5 minutes ahead", field="updatedAt")
    return said


def _place(path: Sequence[int | str]) -> str:
    return ".".join(str(step)[:128] for step in path)


def _words(error: Any) -> str:
    where = _place(error["loc"])
    reason = error.get("ctx", {}).get("error")
    if reason is not None:
        return f"{where} {reason}"
    if error["type"] == "extra_forbidden":
        return f"{where} is not a field"
    if error["type"] == "string_pattern_mismatch":
        kind = "a link with its scheme" if where.lower().endswith("url") else "text without control characters"
        return f"{where} must be {kind}"
    return f"{where}: {error['msg']}"
