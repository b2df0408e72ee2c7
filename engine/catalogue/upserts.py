"""Items and people taken in: each judged, the good ones stored together, one result each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from asyncpg import Pool

from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from core.uploads import read_item, read_user
from db.items import remove_items, upsert_items
from db.users import upsert_users
from engine.catalogue.catalogue import Catalogue
from engine.outcomes import Outcome, Result, check_count, echo

log = structlog.get_logger()


async def store_items(pool: Pool, catalogue: Catalogue, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Judge and store items: one result each, in their order; this process's catalogue knows them at once.

    Raises TooManyElements for more than 500.
    """
    results = await _store(raws, read_item, partial(upsert_items, pool))
    await _refresh(catalogue)
    return results


async def drop_items(pool: Pool, catalogue: Catalogue, ids: Sequence[str]) -> list[Result]:
    """Remove items: ACCEPTED, or REJECTED as NOT_FOUND. Raises TooManyElements for more than 500."""
    check_count(len(ids))
    real = [id for id in ids if echo(id)]
    try:
        removed = await remove_items(pool, real)
    except StoreUnavailable:
        return [_retry(index, id) for index, id in enumerate(ids)]
    found = dict(zip(real, removed, strict=True))
    await _refresh(catalogue)
    return [
        Result(index, Outcome.ACCEPTED, id)
        if found.get(id)
        else Result(index, Outcome.REJECTED, echo(id), "NOT_FOUND", None, "There is no such item.")
        for index, id in enumerate(ids)
    ]


async def store_users(pool: Pool, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Judge and store people, as `store_items` does items."""
    return await _store(raws, read_user, partial(upsert_users, pool))


async def _store(
    raws: Sequence[Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], Any],
    store: Callable[[list[Any]], Awaitable[Sequence[str]]],
) -> list[Result]:
    check_count(len(raws))
    results: dict[int, Result] = {}
    patches: dict[int, Any] = {}
    for index, raw in enumerate(raws):
        try:
            patches[index] = read(raw)
        except InvalidInput as error:
            path = error.field.split(".") if error.field else None
            results[index] = Result(index, Outcome.REJECTED, echo(raw.get("id")), "BAD_USER_INPUT", path, str(error))
    try:
        stored = await store(list(patches.values())) if patches else []
    except StoreUnavailable:
        return [results.get(index) or _retry(index, patches[index]["id"]) for index in range(len(raws))]
    for (index, patch), outcome in zip(patches.items(), stored, strict=True):
        results[index] = Result(index, Outcome.ACCEPTED, patch["id"]) if outcome == "ACCEPTED" else _stale(index, patch)
    return [results[index] for index in range(len(raws))]


async def _refresh(catalogue: Catalogue) -> None:
    try:
        await catalogue.refresh()
    except StoreUnavailable as error:  # stored it is; the next look finds it
        log_unavailable(error, doing="refresh the catalogue")


def _stale(index: int, patch: Mapping[str, Any]) -> Result:
    message = "What is stored was updated later than this."
    return Result(index, Outcome.CONFLICT, patch["id"], "STALE", ["updatedAt"], message)


def _retry(index: int, id: str) -> Result:
    message = "The store does not answer: send this again, as it is."
    return Result(index, Outcome.RETRY, echo(id), "SERVICE_UNAVAILABLE", None, message)
