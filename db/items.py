"""Items of the catalogue: patched by upserts, kept as removed rows, streamed to every gateway."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from core import clock
from core.uploads import ItemPatch, Offer
from db.locks import AdvisoryLock, lock_transaction
from db.patching import (
    AT_ONCE,
    NO_CHANGE,
    UpsertOutcome,
    fits,
    keys_change,
    merged_keys,
    merged_offers,
    moment_of,
    offers_change,
)
from db.postgres import Connection, transaction

PAGE = 5_000
LONGEST_TITLE, LONGEST_DESCRIPTION = 1_000, 4_000  # characters of texts that training reads
BULK_TIMEOUT = 900.0  # seconds, to read the whole table
APPLIED_AT_ONCE = 20  # patches that are joined between two turns of the event loop: one may have 500 offers
CHANGES = 1_000  # rows that are read at once while a gateway answers
_FIELDS = (
    "group_id", "title", "description", "categories", "brand", "image_url", "url", "app_url", "attributes", "offers",
)  # fmt: skip
_COLUMNS = f"id, number, {', '.join(_FIELDS)}, changed_seq, created_at"
_MERGED: Mapping[str, str] = {field: f"patch->>'{field}'" for field in _FIELDS} | {
    "categories": "ARRAY(SELECT jsonb_array_elements_text(patch->'categories'))",
    "attributes": merged_keys("stored.attributes", "(patch->'attributes')"),
    "offers": merged_offers("stored.offers", "(patch->'offers')"),
}  # the value of a field that a patch names
_NOT_NAMED: Mapping[str, str] = dict.fromkeys(_FIELDS, "NULL") | {
    "categories": "'{}'::text[]", "attributes": "'{}'::jsonb", "offers": "'[]'::jsonb"
}  # fmt: skip
_PATCHED = ", ".join(
    f"{field} = CASE WHEN patch ? '{field}' THEN given.{field} ELSE items.{field} END" for field in _FIELDS
)
# Not INSERT .. ON CONFLICT: it uses up an item number for each row that it only updates, and masks grow with numbers.
_UPSERT = f"""
    MERGE INTO items USING (
        SELECT patch, patch->>'id' AS id, (patch->>'updated_at')::timestamptz AS updated_at, {
    ", ".join(
        f"CASE WHEN patch ? '{field}' THEN {value} ELSE {_NOT_NAMED[field]} END AS {field}"
        for field, value in _MERGED.items()
    )
}
        FROM jsonb_array_elements($1::jsonb) AS patches(patch) LEFT JOIN items AS stored ON stored.id = patch->>'id'
        OFFSET 0  -- so that merged values are computed once
    ) AS given ON items.id = given.id
    WHEN MATCHED AND {fits("given.attributes", "given.offers")}
        THEN UPDATE SET updated_at = given.updated_at, removed_at = NULL, {_PATCHED}
    WHEN NOT MATCHED AND {fits("given.attributes", "given.offers")}
        THEN INSERT (id, updated_at, {", ".join(_FIELDS)}, changed_seq)
        VALUES (given.id, given.updated_at, {", ".join(f"given.{field}" for field in _FIELDS)}, 0)
    RETURNING items.id
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


class StoredText(NamedTuple):
    """What a live item says in words."""

    number: int
    title: str | None
    description: str | None
    categories: tuple[str, ...]
    brand: str | None
    attributes: dict[str, Any]


async def upsert_items(connection: Connection, patches: Sequence[ItemPatch]) -> list[UpsertOutcome]:
    """Apply the patches in their order, one outcome each.

    A removed item that is patched becomes live again. Patches of one item are one change: all are TOO_LARGE, or none.
    """
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.ITEM_WRITERS)
        updated = await _update_times(inside, [patch["id"] for patch in patches])
        return [
            outcome
            for start in range(0, len(patches), AT_ONCE)
            for outcome in await _upsert(inside, updated, patches[start : start + AT_ONCE])
        ]


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


async def removal_time(connection: Connection, id: str) -> datetime | None:
    """When an item was removed; None for one that is live or was never there."""
    found: datetime | None = await connection.fetchval("SELECT removed_at FROM items WHERE id = $1", id)
    return found


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


async def stream_texts(connection: Connection) -> AsyncIterator[list[StoredText]]:
    """The texts of all live items by number, in pages; titles and descriptions are cut off."""
    number = -1
    while rows := await connection.fetch(
        f"SELECT number, left(title, {LONGEST_TITLE}) AS title, left(description, {LONGEST_DESCRIPTION}) AS description"
        ", categories, brand, attributes FROM items WHERE number > $1 AND removed_at IS NULL"
        f" ORDER BY number LIMIT {PAGE}",
        number,
    ):
        yield [
            StoredText(
                row["number"],
                row["title"],
                row["description"],
                tuple(row["categories"]),
                row["brand"],
                row["attributes"],
            )
            for row in rows
        ]
        number = rows[-1]["number"]


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


async def _upsert(
    connection: Connection, updated: dict[str, datetime], patches: Sequence[ItemPatch]
) -> list[UpsertOutcome]:
    now = clock.now()
    joined: dict[str, dict[str, Any]] = {}
    outcomes = []
    for position, patch in enumerate(patches):
        if position % APPLIED_AT_ONCE == 0:
            await asyncio.sleep(0)
        outcomes.append(_apply(updated, joined, patch, now))
    rows = await connection.fetch(_UPSERT, [joined[id] for id in sorted(joined)])
    stored = {row["id"] for row in rows}
    return [
        "TOO_LARGE" if outcome == "ACCEPTED" and patch["id"] not in stored else outcome
        for patch, outcome in zip(patches, outcomes, strict=True)
    ]


async def _update_times(connection: Connection, ids: list[str]) -> dict[str, datetime]:
    return dict(await connection.fetch("SELECT id, updated_at FROM items WHERE id = ANY($1)", ids))


def _apply(
    updated: dict[str, datetime], joined: dict[str, dict[str, Any]], patch: ItemPatch, now: datetime
) -> UpsertOutcome:
    """Join the patch with the earlier ones of its item. What is stored is not read: it may be much larger."""
    id = patch["id"]
    moment = moment_of(patch, updated.get(id), now)
    if id in updated and moment < updated[id]:
        return "STALE"
    updated[id] = moment
    before = joined.get(id, {})
    given = {field: _change(field, value, before.get(field, NO_CHANGE)) for field, value in patch.items()}
    joined[id] = {**before, **given, "updated_at": moment.isoformat()}
    return "ACCEPTED"


def _change(field: str, value: Any, before: Any) -> Any:
    """The value of a field after the patches `before`, as JSON."""
    if field == "attributes":
        return keys_change(before, value)
    if field == "offers":
        return offers_change(before, value)
    return list(value or ()) if field == "categories" else value


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
