"""Says why events name items that the catalogue does not have: the ids of both sides, and what likely differs."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Final, Literal

from db.named_items import example_items, items_in_any_case, items_with_another_start, known_items
from db.postgres import Connection, Pool

FEW: Final = 0.5
"""Below this share of events that name a known item, something is likely wrong."""
_SHOWN: Final = 40  # characters of an id
_PLACES: Final = 24  # digits that an id may be padded to
_FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")
_DIFFERENCES: Final[tuple[tuple[str, Callable[[str], list[str]]], ...]] = (
    ("the ids of one side end in `.0`", lambda id: [id.removesuffix(".0"), f"{id}.0"]),
    ("the ids of one side are padded with zeros", lambda id: [id.lstrip("0"), *_padded(id)]),
    ("the ids of one side have blanks", lambda id: ["".join(id.split()), id.strip()]),
    ("accented letters are written in two ways", lambda id: [unicodedata.normalize(form, id) for form in _FORMS]),
)


async def unknown_items(connection: Connection | Pool, unknown: Sequence[str]) -> str:
    """Sentences about ids that events name and the catalogue lacks: a few of each side, and the likely cause."""
    there = await example_items(connection)
    if not there:
        return "The catalogue is empty: load its items too."
    if not unknown:
        return f"The catalogue has {_listed(there)}."
    words = f"The events name {_listed(unknown)}; the catalogue has {_listed(there)}."
    cause = await _difference(connection, unknown)
    return f"{words} Likely cause: {cause}." if cause else words


async def _difference(connection: Connection | Pool, unknown: Sequence[str]) -> str | None:
    for cause, changes in _DIFFERENCES:
        changed = {other for id in unknown for other in changes(id)} - {*unknown, ""}
        if await known_items(connection, sorted(changed)):
            return cause
    if await items_in_any_case(connection, unknown):
        return "the ids of one side are in another letter case"
    for item, other in await items_with_another_start(connection, unknown):
        longer, shorter = sorted((item, other), key=len, reverse=True)
        return f"the ids of one side start with {_short(longer.removesuffix(shorter))}"
    return None


def _padded(id: str) -> list[str]:
    return [id.zfill(places) for places in range(len(id) + 1, _PLACES)] if id.isdigit() else []


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(_short(id) for id in ids[:3])


def _short(id: str) -> str:
    return f"`{id if len(id) <= _SHOWN else f'{id[:_SHOWN]}...'}`"
