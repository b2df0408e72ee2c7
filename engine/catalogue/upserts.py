"""Upserts of items and users: each element is checked, the valid ones are stored together, each has a result."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from core.uploads import read_item, read_user
from db.items import remove_items, upsert_items
from db.patching import UpsertOutcome
from db.postgres import Connection
from db.users import upsert_users
from engine.catalogue.catalogue import Catalogue
from engine.outcomes import Outcome, Result, check_count, valid_id

_GROWING: Final = ("attributes", "traits", "offers", "price", "listPrice", "currency", "available", "id")
SLICE: Final = 5  # elements that are checked between two turns of the event loop: one item may have 500 offers


async def store_items(pool: Connection, catalogue: Catalogue, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Check and store items, and refresh this process's catalogue. Returns one result per item, in order.

    Raises TooManyElements for more than 500.
    """
    results = await _store(raws, read_item, partial(upsert_items, pool), doing="store items")
    await _refresh(catalogue)
    return results


async def drop_items(pool: Connection, catalogue: Catalogue, ids: Sequence[str]) -> list[Result]:
    """Remove items: each is ACCEPTED, REJECTED as NOT_FOUND, or RETRY. Raises TooManyElements for more than 500."""
    check_count(len(ids))
    valid = [id for id in ids if valid_id(id)]
    try:
        removed = await remove_items(pool, valid)
    except StoreUnavailable as error:
        log_unavailable(error, doing="remove items", items=len(valid))
        return [_retry(index, id) for index, id in enumerate(ids)]
    found = dict(zip(valid, removed, strict=True))
    await _refresh(catalogue)
    return [
        Result(index, Outcome.ACCEPTED, id)
        if found.get(id)
        else Result(index, Outcome.REJECTED, valid_id(id), "NOT_FOUND", None, "There is no such item.")
        for index, id in enumerate(ids)
    ]


async def store_users(pool: Connection, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Check and store users, as `store_items` does items."""
    return await _store(raws, read_user, partial(upsert_users, pool), doing="store users")


async def _store(
    raws: Sequence[Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], Any],
    store: Callable[[list[Any]], Awaitable[Sequence[UpsertOutcome]]],
    *,
    doing: str,
) -> list[Result]:
    check_count(len(raws))
    results: dict[int, Result] = {}
    patches: dict[int, Any] = {}
    for index, raw in enumerate(raws):
        if index % SLICE == 0:
            await asyncio.sleep(0)
        try:
            patches[index] = read(raw)
        except InvalidInput as error:
            path = error.field.split(".") if error.field is not None else None
            results[index] = Result(
                index, Outcome.REJECTED, valid_id(raw.get("id")), "BAD_USER_INPUT", path, str(error)
            )
    try:
        stored = await store(list(patches.values())) if patches else []
    except StoreUnavailable as error:
        log_unavailable(error, doing=doing, elements=len(patches))
        return [results.get(index) or _retry(index, patches[index]["id"]) for index in range(len(raws))]
    for (index, patch), outcome in zip(patches.items(), stored, strict=True):
        results[index] = _result(index, raws[index], patch["id"], outcome)
    return [results[index] for index in range(len(raws))]


async def _refresh(catalogue: Catalogue) -> None:
    try:
        await catalogue.refresh()
    except StoreUnavailable as error:  # the items are stored; the next refresh reads them
        log_unavailable(error, doing="refresh the catalogue")


def _result(index: int, raw: Mapping[str, Any], id: str, outcome: UpsertOutcome) -> Result:
    if outcome == "STALE":
        message = "The stored one was updated later than this."
        return Result(index, Outcome.CONFLICT, id, "STALE", ["updatedAt"], message)
    if outcome == "TOO_LARGE":
        field = next(name for name in _GROWING if name in raw)
        message = f"{field} would be too large together with what is stored: clear some of it"
        return Result(index, Outcome.REJECTED, id, "BAD_USER_INPUT", [field], message)
    return Result(index, Outcome.ACCEPTED, id)


def _retry(index: int, id: str) -> Result:
    message = "The store does not answer: send this again unchanged."
    return Result(index, Outcome.RETRY, valid_id(id), "SERVICE_UNAVAILABLE", None, message)
