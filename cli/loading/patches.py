"""Items and users of a chunk as patches, judged one by one by the rules of the upsert mutations."""

from collections.abc import Mapping
from typing import Any, Final, cast

from cli.loading.chunks import Chunk, Reject
from cli.loading.fields import Kind
from core.errors import InvalidInput
from db.items import ItemPatch, upsert_items
from db.postgres import Connection
from db.users import UserPatch, upsert_users
from engine.catalogue.uploads import read_item, read_user

_OFFER: Final = ("price", "listPrice", "currency", "available")
_WORDS: Final = {"true": True, "t": True, "yes": True, "y": True, "1": True,
                 "false": False, "f": False, "no": False, "n": False, "0": False}  # fmt: skip

Patch = ItemPatch | UserPatch


def patches_of(kind: Kind, chunk: Chunk) -> tuple[list[Patch], list[Reject]]:
    """The chunk's patches, and the lines that are none, the unreadable ones included."""
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
    """Apply the patches; returns how many were not older than what is stored."""
    if kind == Kind.ITEMS:
        outcomes = await upsert_items(connection, cast("list[ItemPatch]", patches))
    else:
        outcomes = await upsert_users(connection, cast("list[UserPatch]", patches))
    return outcomes.count("ACCEPTED")


def item_of(record: Mapping[str, Any]) -> ItemPatch:
    """The patch of a record, in which flat columns make the offer of the default market. Raises InvalidInput."""
    raw = dict(record)
    if "image" in raw:
        raw["imageUrl"] = raw.pop("image")
    if isinstance(raw.get("categories"), str):
        raw["categories"] = _parts(raw["categories"])
    flat: dict[str, Any] = {name: raw.pop(name) for name in _OFFER if name in raw}
    if flat:
        if "offers" in raw:
            raise InvalidInput(f"offers cannot stand beside {', '.join(flat)}", "offers")
        raw["offers"] = [{**flat, **_available(flat)}]
    return read_item(raw)


def _parts(text: str) -> list[str]:
    """`a > b > c` or `a|b|c`."""
    return [part.strip() for part in text.split(">" if ">" in text else "|")]


def _available(flat: Mapping[str, Any]) -> dict[str, Any]:
    value = flat.get("available")
    if not isinstance(value, str):
        return {}
    if value.strip().lower() not in _WORDS:
        raise InvalidInput("available must be true or false", "available")
    return {"available": _WORDS[value.strip().lower()]}
