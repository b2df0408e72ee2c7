"""Users and their traits; whether a person is known."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from core.contract import Person
from core.uploads import UserPatch
from db.merged_users import IDS, OWNER, owners_of_merged
from db.postgres import Connection, transaction

UpsertOutcome = Literal["ACCEPTED", "STALE"]

_UPSERT = """
    INSERT INTO users (id, updated_at, traits) SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::jsonb[])
    ON CONFLICT (id) DO UPDATE SET updated_at = EXCLUDED.updated_at, traits = {traits}
    WHERE users.updated_at <= EXCLUDED.updated_at
    RETURNING id
"""
_UPSERT_TRAITS = _UPSERT.format(traits="EXCLUDED.traits")
_UPSERT_TOUCH = _UPSERT.format(traits="users.traits")


@dataclass(frozen=True, slots=True)
class User:
    """A user as the shop describes them."""

    id: str
    traits: dict[str, Any]


async def upsert_users(connection: Connection, patches: Sequence[UserPatch]) -> list[UpsertOutcome]:
    """Apply the patches, one outcome each: STALE when the user has a newer `updated_at`.

    Patches of one user are applied in their order.
    """
    outcomes: list[UpsertOutcome] = ["STALE"] * len(patches)
    async with transaction(connection) as inside:
        for wave in _waves(patches):
            for position in await _upsert(inside, wave):
                outcomes[position] = "ACCEPTED"
    return outcomes


def _waves(patches: Sequence[UserPatch]) -> Iterator[dict[str, tuple[int, UserPatch]]]:
    """The patches with their positions in rounds that name no user twice; sorted, so that writers cannot deadlock."""
    waiting = list(enumerate(patches))
    while waiting:
        wave: dict[str, tuple[int, UserPatch]] = {}
        later = [
            (position, patch)
            for position, patch in waiting
            if wave.setdefault(patch["id"], (position, patch))[0] != position
        ]
        yield dict(sorted(wave.items()))
        waiting = later


async def _upsert(connection: Connection, wave: dict[str, tuple[int, UserPatch]]) -> list[int]:
    positions: list[int] = []
    for query, with_traits in ((_UPSERT_TRAITS, True), (_UPSERT_TOUCH, False)):
        patches = [patch for _, patch in wave.values() if ("traits" in patch) == with_traits]
        columns = zip(
            *((patch["id"], patch["updated_at"], patch.get("traits") or {}) for patch in patches), strict=True
        )
        rows = await connection.fetch(query, *(list(column) for column in columns)) if patches else []
        positions += [wave[row["id"]][0] for row in rows]
    return positions


async def user_by_id(connection: Connection, id: str) -> User | None:
    """The user with this id, if the shop has described them: also under an old id. The current id's traits win."""
    rows = await connection.fetch(
        f"SELECT traits FROM users WHERE id = ANY({IDS}) ORDER BY id = {OWNER}, updated_at, id", id
    )
    return User(id, {name: value for row in rows for name, value in row["traits"].items()}) if rows else None


_NEXT_ID: Final = (
    "(SELECT least((SELECT min(id) FROM users WHERE id > {after}),"
    " (SELECT min(user_id) FROM events WHERE user_id > {after})))"
)


async def stream_user_ids(connection: Connection, at_once: int = 1_000) -> AsyncIterator[list[str]]:
    """The ids of all users whom the shop described or reported events of, in order. Old ids are left out."""
    after = ""
    while True:
        rows = await connection.fetch(
            f"WITH RECURSIVE ids AS (SELECT {_NEXT_ID.format(after='$1::text')} AS id"
            f" UNION ALL SELECT {_NEXT_ID.format(after='ids.id')} FROM ids WHERE id IS NOT NULL)"
            # The limit inside ends the recursion.
            " SELECT id FROM (SELECT id FROM ids WHERE id IS NOT NULL LIMIT $2) AS next ORDER BY id",
            after,
            at_once,
        )
        ids = [row["id"] for row in rows]
        if not ids:
            return
        after = ids[-1]
        merged = await owners_of_merged(connection, ids)
        yield [id for id in ids if id not in merged]


async def person_known(connection: Connection, person: Person) -> bool:
    """Whether the shop described this person or any event is theirs.

    An event of a user is no guest's, whatever anonymous id it names; a guest who became a user is known, and so is a
    user who was merged.
    """
    if person.kind == "user":
        query = (
            "SELECT EXISTS (SELECT FROM users WHERE id = $1) OR EXISTS (SELECT FROM events WHERE user_id = $1)"
            " OR EXISTS (SELECT FROM merged_users WHERE user_id = $1 OR into_id = $1)"
        )
    else:
        query = (
            "SELECT EXISTS (SELECT FROM events WHERE anonymous_id = $1 AND user_id IS NULL)"
            " OR EXISTS (SELECT FROM identities WHERE anonymous_id = $1)"
        )
    return bool(await connection.fetchval(query, person.id))
