"""Items of the catalogue: patched by upserts, kept as removed rows, streamed to every gateway."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from core.uploads import ItemPatch, Offer
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

UpsertOutcome = Literal["ACCEPTED", "STALE"]

PAGE = 5_000
BULK_TIMEOUT = 900.0  # seconds, to read the whole table
CHANGES = 1_000  # rows that are read at once while a gateway answers
_FIELDS = (
    "group_id", "title", "description", "categories", "brand", "image_url", "url", "app_url", "attributes", "offers",
)  # fmt: skip
_EMPTY: Mapping[str, Any] = {"categories": [], "attributes": {}, "offers": []}
_COLUMNS = f"id, number, {', '.join(_FIELDS)}, changed_seq, created_at"
_GIVEN: Mapping[str, str] = {field: f"patch->>'{field}'" for field in _FIELDS} | {
    "categories": "ARRAY(SELECT jsonb_array_elements_text(patch->'categories'))",
    "attributes": "coalesce(patch->'attributes', '{}')",
    "offers": "coalesce(patch->'offers', '[]')",
}  # the value of a field in a patch
_PATCHED = ", ".join(
    f"{field} = CASE WHEN patch ? '{field}' THEN given.{field} ELSE items.{field} END" for field in _FIELDS
)
# Not INSERT .. ON CONFLICT: it uses up an item number for each row that it only updates, and masks grow with numbers.
_UPSERT = f"""
    MERGE INTO items USING (
        SELECT patch, patch->>'id' AS id, (patch->>'updated_at')::timestamptz AS updated_at,
               {", ".join(f"{value} AS {field}" for field, value in _GIVEN.items())}
        FROM jsonb_array_elements($1::jsonb) AS patches(patch)
    ) AS given ON items.id = given.id
    WHEN MATCHED THEN UPDATE SET updated_at = given.updated_at, removed_at = NULL, {_PATCHED}
    WHEN NOT MATCHED THEN INSERT (id, updated_at, {", ".join(_FIELDS)}, changed_seq)
        VALUES (given.id, given.updated_at, {", ".join(f"given.{field}" for field in _FIELDS)}, 0)
"""


@dataclass(frozen=True, slots=True)
class Item:
    """A live item. `number` is its dense integer id inside arrays; it never changes."""

    id: str
    number: int
    group_id: str | None
    title: str | None
    description: str | None
    categories: tuple[str, ...]
    brand: str | None
    image_url: str | None
    url: str | None
    app_url: str | None
    attributes: dict[str, Any]
    offers: tuple[Offer, ...]
    changed_seq: int
    added: int  # Unix seconds; 0: before this was recorded


async def upsert_items(connection: Connection, patches: Sequence[ItemPatch]) -> list[UpsertOutcome]:
    """Apply the patches in their order, one outcome each: STALE when the item has a newer `updated_at`.

    A removed item that is patched becomes live again. An item that appears twice is patched twice.
    """
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.ITEM_WRITERS)
        updated = await _update_times(inside, [patch["id"] for patch in patches])
        merged: dict[str, dict[str, Any]] = {}
        outcomes = [_apply(updated, merged, patch) for patch in patches]
        await inside.execute(_UPSERT, [merged[id] for id in sorted(merged)])
    return outcomes


async def remove_items(connection: Connection, ids: Sequence[str]) -> list[bool]:
    """Mark the items as removed; returns for each id whether it was live."""
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.ITEM_WRITERS)
        removed = await inside.fetch(
            "UPDATE items SET removed_at = now(), updated_at = greatest(updated_at, now())"
            " WHERE id = ANY($1) AND removed_at IS NULL RETURNING id",
            list(ids),
        )
    found = {row["id"] for row in removed}
    return [id in found for id in ids]


async def stream_items(connection: Connection) -> AsyncIterator[list[Item]]:
    """All live items by number, in pages. Call `catalogue_version` first: changes after it are read separately."""
    number = -1
    while rows := await connection.fetch(
        f"SELECT {_COLUMNS} FROM items WHERE number > $1 AND removed_at IS NULL ORDER BY number LIMIT {PAGE}", number
    ):
        yield [_item(row) for row in rows]
        number = rows[-1]["number"]


async def last_categories(connection: Connection) -> dict[int, str]:
    """The last, most specific category of each item by its number; of removed items, too."""
    rows = await connection.fetch(
        "SELECT number, categories[cardinality(categories)] AS category FROM items WHERE cardinality(categories) > 0",
        timeout=BULK_TIMEOUT,
    )
    return {row["number"]: row["category"] for row in rows}


async def catalogue_version(connection: Connection) -> int:
    """The newest committed change; 0 for an empty catalogue."""
    return int(await connection.fetchval("SELECT coalesce(max(changed_seq), 0) FROM items"))


async def items_changed_since(connection: Connection, seq: int) -> tuple[list[Item], list[tuple[str, int]], int]:
    """Some changes after `seq`: live items, removed (id, number), and the seq for the next call."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}, removed_at FROM items WHERE changed_seq > $1 ORDER BY changed_seq LIMIT {CHANGES}", seq
    )
    live = []
    for row in rows:
        if row["removed_at"] is None:
            live.append(_item(row))
            await asyncio.sleep(0)  # an item may have 500 offers
    removed = [(row["id"], row["number"]) for row in rows if row["removed_at"] is not None]
    return live, removed, rows[-1]["changed_seq"] if rows else seq


async def _update_times(connection: Connection, ids: list[str]) -> dict[str, datetime]:
    return dict(await connection.fetch("SELECT id, updated_at FROM items WHERE id = ANY($1)", ids))


def _apply(updated: dict[str, datetime], merged: dict[str, dict[str, Any]], patch: ItemPatch) -> UpsertOutcome:
    """Merge the patch with the earlier ones of its item. What is stored is not read: it may be much larger."""
    id, moment = patch["id"], patch["updated_at"]
    if id in updated and moment < updated[id]:
        return "STALE"
    updated[id] = moment
    given = {field: _stored(field, value) for field, value in patch.items()}
    merged[id] = {**merged.get(id, {}), **given, "updated_at": moment.isoformat()}
    return "ACCEPTED"


def _stored(field: str, value: Any) -> Any:
    if value is None:
        return _EMPTY.get(field)
    if field == "offers":
        return [_offer_row(offer) for offer in value]
    return list(value) if field == "categories" else value


def _offer_row(offer: Offer) -> dict[str, Any]:
    return {
        "market": offer.market,
        "price": None if offer.price is None else format(offer.price, "f"),
        "listPrice": None if offer.list_price is None else format(offer.list_price, "f"),
        "currency": offer.currency,
        "available": offer.available,
    }


def _offer(row: Mapping[str, Any]) -> Offer:
    price, list_price = row["price"], row["listPrice"]
    return Offer(
        market=row["market"],
        price=None if price is None else Decimal(price),
        list_price=None if list_price is None else Decimal(list_price),
        currency=row["currency"],
        available=row["available"],
    )


def _item(row: Any) -> Item:
    return Item(
        id=row["id"],
        number=row["number"],
        group_id=row["group_id"],
        title=row["title"],
        description=row["description"],
        categories=tuple(row["categories"]),
        brand=row["brand"],
        image_url=row["image_url"],
        url=row["url"],
        app_url=row["app_url"],
        attributes=row["attributes"],
        offers=tuple(_offer(offer) for offer in row["offers"]),
        changed_seq=row["changed_seq"],
        added=int(row["created_at"].timestamp()) if row["created_at"] else 0,
    )
