"""What people chose for their own lists: hidden items and categories, and a pause of personal lists."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from core.choices import Choices
from core.contract import Person
from db.postgres import Connection

_COLUMNS: Final = "hidden_items, hidden_categories, paused_since, version"
_CHANGE: Final = f"""
    INSERT INTO choices (kind, id) VALUES ($1, $2)
    ON CONFLICT (kind, id) DO UPDATE SET version = DEFAULT, changed_at = DEFAULT RETURNING {_COLUMNS}
"""


async def choices_of(connection: Connection, people: Sequence[Person]) -> dict[Person, Choices]:
    """The choices of those of these people who ever chose anything."""
    rows = await connection.fetch(
        f"SELECT kind, choices.id, {_COLUMNS} FROM choices JOIN unnest($1::text[], $2::text[]) AS given (kind, id)"
        " USING (kind, id)",
        [person.kind for person in people],
        [person.id for person in people],
    )
    return {Person(row["kind"], row["id"]): _choices(row) for row in rows}


async def change_choices(connection: Connection, person: Person, change: Callable[[Choices], Choices]) -> Choices:
    """Store what `change` makes of a person's choices, and return it; no other change comes between.

    The caller opens the transaction. Whatever `change` raises leaves the choices as they were.
    """
    found = _choices(await connection.fetchrow(_CHANGE, person.kind, person.id))
    changed = change(found)._replace(version=found.version)
    await connection.execute(
        "UPDATE choices SET hidden_items = $3, hidden_categories = $4, paused_since = $5 WHERE kind = $1 AND id = $2",
        person.kind,
        person.id,
        list(changed.items),
        list(changed.categories),
        changed.paused_since,
    )
    return changed


async def move_choices(connection: Connection, before: Person, user_id: str) -> None:
    """Join the choices of a guest or an old user id to those of a user. The caller opens the transaction."""
    row = await connection.fetchrow(
        f"DELETE FROM choices WHERE kind = $1 AND id = $2 RETURNING {_COLUMNS}", before.kind, before.id
    )
    if row is not None:
        moved = _choices(row)
        await change_choices(connection, Person("user", user_id), lambda own: own.joined(moved))


async def delete_choices(connection: Connection, people: Sequence[Person], before: datetime | None = None) -> int:
    """Delete the choices of these people; with `before`, only those not changed since. Returns of how many."""
    tag = await connection.execute(
        "DELETE FROM choices USING unnest($1::text[], $2::text[]) AS given (kind, id)"
        " WHERE choices.kind = given.kind AND choices.id = given.id"
        " AND ($3::timestamptz IS NULL OR changed_at < $3)",
        [person.kind for person in people],
        [person.id for person in people],
        before,
    )
    return int(tag.rpartition(" ")[2])


def _choices(row: Any) -> Choices:
    return Choices(tuple(row["hidden_items"]), tuple(row["hidden_categories"]), row["paused_since"], row["version"])
