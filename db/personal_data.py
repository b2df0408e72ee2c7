"""Everything that is stored about one user, events only as a count."""

from typing import Any, Final

from core.choices import Choices
from core.contract import Person
from db.accounts import accounts_of
from db.authorizations import grants_of
from db.choices import choices_of
from db.dead_events import DeadEvent, dead_events_of_user
from db.erasures import erasure_of
from db.events import Span
from db.identities import identities_of, people_of_user
from db.merged_users import merged_into, owner_of
from db.postgres import Connection
from db.requests import requests_of
from db.segments import segments_of

MOST_DEAD: Final = 1_000
_NO_TRAITS: Final = {"traits": None, "traitsUpdatedAt": None}


async def personal_data_of(connection: Connection, user_id: str) -> dict[str, Any]:
    """The data stored about a user under any of their ids, as JSON, but for `events`: a Span, there may be many."""
    owner = await owner_of(connection, user_id)
    merged = await merged_into(connection, owner)
    ids = [owner, *(one.user_id for one in merged)]
    rows = await connection.fetch("SELECT id, traits, updated_at FROM users WHERE id = ANY($1)", ids)
    traits = {row["id"]: {"traits": row["traits"], "traitsUpdatedAt": row["updated_at"].isoformat()} for row in rows}
    events = await connection.fetchrow(
        "SELECT count(*) AS count, min(occurred_at) AS first, max(occurred_at) AS last FROM events"
        " WHERE user_id = ANY($1)",
        ids,
    )
    chosen = await choices_of(connection, await people_of_user(connection, owner))
    erasure = await erasure_of(connection, user_id)
    return {
        "id": owner,
        **traits.get(owner, _NO_TRAITS),
        "mergedUsers": [
            {
                "id": one.user_id,
                "mergedAt": one.merged_at.isoformat(),
                "by": one.merged_by,
                **traits.get(one.user_id, _NO_TRAITS),
            }
            for one in merged
        ],
        "anonymousIds": [
            {"anonymousId": one.anonymous_id, "identifiedAt": one.identified_at.isoformat(), "by": one.identified_by}
            for one in await identities_of(connection, owner)
        ],
        "events": Span(*events),
        "deadEvents": [_dead_event(*found) for found in await dead_events_of_user(connection, user_id, MOST_DEAD)],
        "accounts": await accounts_of(connection, ids),
        "grants": await grants_of(connection, ids),
        "segments": await segments_of(connection, ids),
        "choices": [_choices_of(*each) for each in sorted(chosen.items())],
        "asked": await requests_of(connection, ids),
        "erasure": erasure and {"id": str(erasure.id), "erasedAt": erasure.erased_at.isoformat()},
    }


def _choices_of(person: Person, choices: Choices) -> dict[str, Any]:
    """What the user, or a guest who was joined to them, chose for their lists."""
    return {
        "of": person.kind,
        "hiddenItems": list(choices.items),
        "hiddenCategories": list(choices.categories),
        "pausedSince": choices.paused_since and choices.paused_since.isoformat(),
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
