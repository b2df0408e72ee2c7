"""How patches become rows: patches of one row are joined in their order, then merged with what is stored, in SQL."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

import orjson

from core.uploads import LARGEST_STORED, MOST_OFFERS, Offer, OfferPatch

UpsertOutcome = Literal["ACCEPTED", "STALE", "TOO_LARGE"]
"""STALE: the stored row has a newer `updated_at`. TOO_LARGE: with what is stored, it would have too many keys."""

Change = dict[str, Any]
"""A patch of keys as JSON: `given`, by key, and whether everything stored before is `cleared`."""

AT_ONCE: Final = 1_000  # patches in one statement: a value of JSON may have 256 MB
NO_CHANGE: Final[Mapping[str, Any]] = {"cleared": False, "given": {}}
_WRITTEN: Final = {
    "market": "market", "price": "price", "list_price": "listPrice", "currency": "currency", "available": "available",
}  # fmt: skip
_NEW_OFFER: Final = {"price": None, "listPrice": None, "currency": None, "available": True}
_NEW: Final = orjson.dumps(_NEW_OFFER).decode()
_CLEARED: Final = dict.fromkeys(_NEW_OFFER)


def keys_change(before: Mapping[str, Any], patch: Mapping[str, Any] | None) -> Change:
    """The change `before` and then a patch of keys; None clears all keys."""
    if patch is None:
        return {"cleared": True, "given": {}}
    return {**before, "given": {**before["given"], **patch}}


def offers_change(before: Mapping[str, Any], patch: Iterable[OfferPatch | Offer] | None) -> Change:
    """The change `before` and then a patch of offers by their market; None clears all offers."""
    if patch is None:
        return {"cleared": True, "given": {}}
    given = dict(before["given"])
    for offer in patch:
        market, row = _offer_row(offer)
        earlier = given.get(market, {"offer": {}, "place": len(given)})
        if row is not None:
            row = {**(_NEW_OFFER if earlier["offer"] is None else earlier["offer"]), **row}
        given[market] = {**earlier, "offer": row}
    return {**before, "given": given}


def merged_keys(stored: str, change: str) -> str:
    """SQL: the JSON object `stored` after `change`. A key whose value is null is cleared."""
    base = f"CASE WHEN ({change}->'cleared')::boolean THEN '{{}}' ELSE coalesce({stored}, '{{}}') END"
    nulls = f"ARRAY(SELECT key FROM jsonb_each({change}->'given') WHERE value = 'null')"
    return f"(({base} || ({change}->'given')) - {nulls})"


def merged_offers(stored: str, change: str) -> str:
    """SQL: the JSON list of offers `stored` after `change`, in their order, with new markets behind them."""
    base = f"CASE WHEN ({change}->'cleared')::boolean THEN '[]' ELSE coalesce({stored}, '[]') END"
    marks = "CASE WHEN other.value->'offer' ? 'available' THEN 'omitted' ELSE '' END"  # see `db/complete_files.py`
    kept = f"(coalesce(one.value, '{_NEW}') - {marks})"
    return f"""(
        SELECT coalesce(jsonb_agg({kept} || coalesce(other.value->'offer', '{{}}')
                                  ORDER BY one.place, (other.value->'place')::integer), '[]')
        FROM jsonb_array_elements({base}) WITH ORDINALITY AS one(value, place)
        FULL JOIN jsonb_each({change}->'given') AS other(market, value)
        ON coalesce(one.value->>'market', '') = other.market
        WHERE other.value->'offer' IS DISTINCT FROM 'null'
    )"""


def fits(keys: str, offers: str | None = None) -> str:
    """SQL: whether the merged values are not too large to be stored."""
    some = f"octet_length({keys}::text) <= {LARGEST_STORED}"
    return some if offers is None else f"({some} AND jsonb_array_length({offers}) <= {MOST_OFFERS})"


def moment_of(patch: Mapping[str, Any], stored: datetime | None, now: datetime) -> datetime:
    """When the patch changes its row: a patch without a time is as new as what is stored, or newer."""
    given: datetime | None = patch.get("updated_at")
    return given or max(now, stored or now)


def _offer_row(offer: OfferPatch | Offer) -> tuple[str, dict[str, Any] | None]:
    """The market of an offer, empty for the default one, and its fields as JSON; None for an offer to remove."""
    named: Any = dataclasses.asdict(offer) if isinstance(offer, Offer) else offer
    row = {_WRITTEN[name]: _plain(value) for name, value in named.items()}
    market = row["market"] or ""  # no market has an empty name
    if row == {"market": row["market"], **_CLEARED}:
        return market, None
    return market, {**row, "available": True} if row.get("available", True) is None else row


def _plain(value: Any) -> Any:
    return format(value, "f") if isinstance(value, Decimal) else value
