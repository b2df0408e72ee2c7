"""Everything that is stored about one user, events only as a count."""

from typing import Any, Final

from db.dead_events import DeadEvent, dead_events_of_user
from db.erasures import erasure_of
from db.identities import identities_of
from db.postgres import Connection
from db.requests import requests_of

MOST_DEAD: Final = 1_000


async def personal_data_of(connection: Connection, user_id: str) -> dict[str, Any]:
    """The data stored about a user, as JSON. Events are only counted: there may be many."""
    user = await connection.fetchrow("SELECT traits, updated_at FROM users WHERE id = $1", user_id)
    events = await connection.fetchrow(
        "SELECT count(*) AS count, min(occurred_at) AS first, max(occurred_at) AS last FROM events WHERE user_id = $1",
        user_id,
    )
    erasure = await erasure_of(connection, user_id)
    return {
        "id": user_id,
        "traits": user and user["traits"],
        "traitsUpdatedAt": user and user["updated_at"].isoformat(),
        "anonymousIds": [
            {"anonymousId": one.anonymous_id, "identifiedAt": one.identified_at.isoformat(), "by": one.identified_by}
            for one in await identities_of(connection, user_id)
        ],
        "events": {
            "count": events["count"],
            "first": events["first"] and events["first"].isoformat(),
            "last": events["last"] and events["last"].isoformat(),
        },
        "deadEvents": [_dead_event(*found) for found in await dead_events_of_user(connection, user_id, MOST_DEAD)],
        "asked": await requests_of(connection, user_id),
        "erasure": erasure and {"id": str(erasure.id), "erasedAt": erasure.erased_at.isoformat()},
    }


def _dead_event(event: DeadEvent, body: bytes | None) -> dict[str, Any]:
    """A dead event with its body, which is gone once it was replayed or discarded."""
    return {
        "id": str(event.id),
        "diedAt": event.died_at.isoformat(),
        "reason": event.reason,
        "state": event.state,
        "body": body and body.decode(errors="replace"),
    }
