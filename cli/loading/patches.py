"""Items and users of a chunk as patches, each checked by the contract of uploads."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

from cli.loading.chunks import Chunk, Reject
from cli.loading.columns import OFFER, Kind
from cli.loading.lists import values_of
from core.amounts import DECIMAL_PLACES
from core.errors import InvalidInput
from core.uploads import ItemPatch, UserPatch, read_item, read_user
from db.items import upsert_items
from db.postgres import Connection
from db.users import upsert_users

BOOLEANS: Final = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True,
                    "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}  # fmt: skip

_OFFER: Final = "offers.0."

Patch = ItemPatch | UserPatch


def patches_of(kind: Kind, chunk: Chunk) -> tuple[list[Patch], list[Reject]]:
    """The patches of the chunk, and its rejects, with the lines that could not be read."""
    read = item_of if kind == Kind.ITEMS else read_user
    patches: list[Patch] = []
    rejects: list[Reject] = []
    for place, line in enumerate(chunk.lines.tolist()):
        try:
            patches.append(read(chunk.record(place)))
        except InvalidInput as error:
            rejects.append(Reject(line, error.field, str(error)))
    return patches, chunk.rejects + rejects


async def store_patches(connection: Connection, kind: Kind, patches: list[Patch]) -> int:
    """Apply the patches; how many of them were not older than what is stored."""
    if kind == Kind.ITEMS:
        outcomes = await upsert_items(connection, cast("list[ItemPatch]", patches))
    else:
        outcomes = await upsert_users(connection, cast("list[UserPatch]", patches))
    return outcomes.count("ACCEPTED")


def item_of(record: Mapping[str, Any]) -> ItemPatch:
    """The patch of a record, whose columns of OFFER make the offer of the default market. Raises InvalidInput."""
    raw = dict(record)
    if "image" in raw:
        raw["imageUrl"] = raw.pop("image")
    if isinstance(raw.get("categories"), str):
        raw["categories"] = _categories(raw["categories"])
    if isinstance(raw.get("offers"), list):
        raw["offers"] = [_with_exact_amounts(offer) for offer in raw["offers"]]
    flat: dict[str, Any] = {name: raw.pop(name) for name in sorted(OFFER & raw.keys())}
    if flat:
        if "offers" in raw:
            raise InvalidInput(f"offers cannot be given together with {', '.join(flat)}", "offers")
        raw["offers"] = [{**flat, **_available(flat)}]
    try:
        return read_item(raw)
    except InvalidInput as error:
        raise _as_written(error) if flat else error from None


def _as_written(error: InvalidInput) -> InvalidInput:
    """The error about the columns of the default market's offer."""
    return InvalidInput(str(error).replace(_OFFER, ""), (error.field or "").removeprefix(_OFFER) or None)


def _categories(text: str) -> list[str]:
    try:
        return values_of("categories", text)
    except ValueError as error:
        raise InvalidInput(f"categories {error}", "categories") from None


def _with_exact_amounts(offer: Any) -> Any:
    """The offer with texts for floats, rounded as columns of amounts are: the contract takes no floats."""
    if not isinstance(offer, dict):
        return offer
    return {name: _amount_text(value) if isinstance(value, float) else value for name, value in offer.items()}


def _amount_text(amount: float) -> str:
    return format(Decimal(repr(round(amount, DECIMAL_PLACES))), "f")


def _available(flat: Mapping[str, Any]) -> dict[str, Any]:
    value = flat.get("available")
    if not isinstance(value, str):
        return {}
    if value.strip().lower() not in BOOLEANS:
        raise InvalidInput("available must be true or false", "available")
    return {"available": BOOLEANS[value.strip().lower()]}
