"""Users and their traits; whether a person is known."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from core import clock
from core.contract import Person
from core.uploads import UserPatch
from db.merged_users import IDS, OWNER, owners_of_merged
from db.patching import AT_ONCE, NO_CHANGE, UpsertOutcome, fits, keys_change, merged_keys
from db.postgres import Connection, transaction

_GIVEN = "$1::jsonb->EXCLUDED.id"  # the patch of the row
_TRAITS = f"({_GIVEN}->'traits')"
_MERGED = f"(CASE WHEN {_GIVEN} ? 'traits' THEN {merged_keys('users.traits', _TRAITS)} ELSE users.traits END)"
_UPSERT = f"""
    INSERT INTO users (id, updated_at, traits)
    SELECT * FROM (
        SELECT id, (patch->>'updated_at')::timestamptz,
               {merged_keys("NULL::jsonb", "coalesce(patch->'traits', $2::jsonb)")} AS traits
        FROM jsonb_each($1::jsonb) AS patches(id, patch) ORDER BY id
    ) AS given WHERE {fits("given.traits")}
    ON CONFLICT (id) DO UPDATE SET updated_at = greatest(users.updated_at, EXCLUDED.updated_at), traits = {_MERGED}
    WHERE (users.updated_at <= EXCLUDED.updated_at OR ({_GIVEN}->'untimed')::boolean) AND {fits(_MERGED)}
    RETURNING id
"""
_OWNER, _IDS = (sql.replace("$1", "given.id") for sql in (OWNER, IDS))


@dataclass(frozen=True, slots=True)
class User:
    """A user as the shop describes them."""

    id: str
    traits: dict[str, Any]


async def upsert_users(connection: Connection, patches: Sequence[UserPatch]) -> list[UpsertOutcome]:
    """Apply the patches, one outcome each. Patches of one user are applied in their order."""
    outcomes: list[UpsertOutcome] = ["TOO_LARGE"] * len(patches)
    async with transaction(connection) as inside:
        now = clock.now()
        for wave in _waves(patches):
            for id, outcome in (await _upsert(inside, wave, now)).items():
                outcomes[wave[id][0]] = outcome
    return outcomes


def _waves(patches: Sequence[UserPatch]) -> Iterator[dict[str, tuple[int, UserPatch]]]:
    """The patches with their positions in rounds that name no user twice; sorted, so that writers cannot deadlock."""
    waiting = list(enumerate(patches))
    while waiting:
        wave: dict[str, tuple[int, UserPatch]] = {}
        later = [
            (position, patch)
            for position, patch in waiting[:AT_ONCE]
            if wave.setdefault(patch["id"], (position, patch))[0] != position
        ]
        yield dict(sorted(wave.items()))
        waiting = later + waiting[AT_ONCE:]


async def _upsert(
    connection: Connection, wave: dict[str, tuple[int, UserPatch]], now: datetime
) -> dict[str, UpsertOutcome]:
    """The outcomes of patches of different users, by user; a user without one has TOO_LARGE."""
    rows = await connection.fetch(_UPSERT, {id: _row(patch, now) for id, (_, patch) in wave.items()}, dict(NO_CHANGE))
    outcomes: dict[str, UpsertOutcome] = {row["id"]: "ACCEPTED" for row in rows}
    left = [id for id in wave if id not in outcomes]
    newer = await connection.fetch("SELECT id, updated_at FROM users WHERE id = ANY($1)", left) if left else []
    for id, stored in newer:
        if stored > wave[id][1].get("updated_at", stored):
            outcomes[id] = "STALE"
    return outcomes


def _row(patch: UserPatch, now: datetime) -> dict[str, Any]:
    row = {"updated_at": patch.get("updated_at", now).isoformat(), "untimed": "updated_at" not in patch}
    return {**row, "traits": keys_change(NO_CHANGE, patch["traits"])} if "traits" in patch else row


async def users_by_id(connection: Connection, ids: Sequence[str]) -> dict[str, User]:
    """The users with these ids, if the shop has described them: also under an old id. The current id's traits win."""
    rows = await connection.fetch(
        f"SELECT given.id, users.traits FROM unnest($1::text[]) AS given (id) CROSS JOIN LATERAL"
        f" (SELECT id, traits, updated_at FROM users WHERE id = ANY({_IDS})) AS users"
        f" ORDER BY users.id = {_OWNER}, users.updated_at, users.id",
        ids,
    )
    traits: dict[str, dict[str, Any]] = {}
    for id, found in rows:
        traits.setdefault(id, {}).update(found)
    return {id: User(id, found) for id, found in traits.items()}


async def user_by_id(connection: Connection, id: str) -> User | None:
    """One user, as `users_by_id` returns it."""
    return (await users_by_id(connection, [id])).get(id)


_NEXT_ID: Final = (
    "(SELECT least((SELECT min(id) FROM users WHERE id > {after}),"
    " (SELECT min(user_id) FROM events WHERE user_id > {after})))"
)


async def stream_user_ids(connection: Connection, at_once: int = 1_000) -> AsyncIterator[list[str]]:
    """The ids of all users with traits or events, in order. Old ids of merged users are left out."""
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


async def known_people(connection: Connection, people: Sequence[Person]) -> set[Person]:
    """Those of these people who have traits or an event.

    An event of a user is no guest's, whatever anonymous id it names; a guest who became a user is known, and so is a
    user who was merged.
    """
    rows = await connection.fetch(
        "SELECT kind, id FROM unnest($1::text[], $2::text[]) AS given (kind, id) WHERE CASE kind WHEN 'user' THEN"
        " EXISTS (SELECT FROM users WHERE id = given.id) OR EXISTS (SELECT FROM events WHERE user_id = given.id)"
        " OR EXISTS (SELECT FROM merged_users WHERE user_id = given.id OR into_id = given.id)"
        " ELSE EXISTS (SELECT FROM events WHERE anonymous_id = given.id AND user_id IS NULL)"
        " OR EXISTS (SELECT FROM identities WHERE anonymous_id = given.id) END",
        [person.kind for person in people],
        [person.id for person in people],
    )
    return {Person(kind, id) for kind, id in rows}


async def person_known(connection: Connection, person: Person) -> bool:
    """Whether one person is known, see `known_people`."""
    return person in await known_people(connection, [person])
