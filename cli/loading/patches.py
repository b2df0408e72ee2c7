"""Items and users of a chunk as patches, each checked by the contract of uploads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

from cli.loading.chunks import Chunk, Reject
from cli.loading.columns import Kind
from cli.loading.lists import values_of
from core.amounts import DECIMAL_PLACES
from core.errors import InvalidInput
from core.uploads import ItemPatch, UserPatch, read_item, read_user
from db.items import upsert_items
from db.postgres import Connection
from db.users import upsert_users

BOOLEANS: Final = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True,
                    "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}  # fmt: skip

_TOO_LARGE: Final = "would be too large together with what is stored"
_AMOUNTS: Final = ("price", "listPrice")

Patch = ItemPatch | UserPatch


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of a chunk, and the line of each."""

    patches: Sequence[Patch] = ()
    lines: Sequence[int] = ()


def patches_of(kind: Kind, chunk: Chunk) -> tuple[Patches, list[Reject]]:
    """The patches of the chunk, and its rejects, with the lines that could not be read."""
    read = item_of if kind == Kind.ITEMS else read_user
    patches: list[Patch] = []
    lines: list[int] = []
    rejects: list[Reject] = []
    for place, line in enumerate(chunk.lines.tolist()):
        record = chunk.record(place)
        try:
            patches.append(read(record))
        except InvalidInput as error:
            rejects.append(Reject(line, error.field, str(error), id_in(record)))
        else:
            lines.append(line)
    return Patches(patches, lines), chunk.rejects + rejects


def id_in(record: Mapping[str, Any]) -> str | None:
    """The id of a record that is rejected, if it has one."""
    id = record.get("id")
    return id if isinstance(id, str) and id else None


async def store_patches(connection: Connection, kind: Kind, patches: Patches) -> tuple[int, list[Reject]]:
    """Apply the patches; how many were not older than what is stored, and those that grow a row too large."""
    if not patches.patches:
        return 0, []
    if kind == Kind.ITEMS:
        outcomes = await upsert_items(connection, cast("list[ItemPatch]", patches.patches))
    else:
        outcomes = await upsert_users(connection, cast("list[UserPatch]", patches.patches))
    grown = [
        Reject(line, None, _TOO_LARGE, patch["id"])
        for line, patch, outcome in zip(patches.lines, patches.patches, outcomes, strict=True)
        if outcome == "TOO_LARGE"
    ]
    return outcomes.count("ACCEPTED"), grown


def item_of(record: Mapping[str, Any]) -> ItemPatch:
    """The patch of a record. Raises InvalidInput."""
    raw = dict(record)
    if isinstance(raw.get("categories"), str):
        raw["categories"] = _categories(raw["categories"])
    if isinstance(raw.get("available"), str):
        raw["available"] = _available(raw["available"])
    if isinstance(raw.get("offers"), list):
        raw["offers"] = [_with_exact_amounts(offer) for offer in raw["offers"]]
    return read_item(raw | {name: _with_exact_amounts(raw[name]) for name in _AMOUNTS if name in raw})


def _categories(text: str) -> list[str]:
    try:
        return values_of("categories", text)
    except ValueError as error:
        raise InvalidInput(f"categories {error}", "categories") from None


def _with_exact_amounts(inside: Any) -> Any:
    """An object with texts for floats, rounded as columns of amounts are: the contract takes no floats."""
    if not isinstance(inside, dict):
        return inside
    return {name: _amount_text(value) if isinstance(value, float) else value for name, value in inside.items()}


def _amount_text(amount: float) -> str:
    return format(Decimal(repr(round(amount, DECIMAL_PLACES))), "f")


def _available(text: str) -> bool:
    if text.strip().lower() not in BOOLEANS:
        raise InvalidInput("available must be true or false", "available")
    return BOOLEANS[text.strip().lower()]
