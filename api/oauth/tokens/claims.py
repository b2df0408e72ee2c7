"""The subject of an access token as claims, and back. `person_kind` says which kind it is, never the text of `sub`.

| token of | sub | person_kind |
|---|---|---|
| a user | the shop's user id, unchanged | `user` |
| a user who signed in here | the same, and `auth_time` and `sid`, the family of the token | `user` |
| a guest | `urn:penchant:guest:` and the anonymous id | `guest` |
| a client | the client id | left out |

No user id may begin with `urn:penchant:`, so a program that reads `sub` alone cannot take a guest for a user.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.contract import Person
from core.texts import RESERVED

GUEST = RESERVED + "guest:"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user who signed in here, when, and the family of tokens that came of it."""

    user_id: str
    auth_time: datetime
    family: str


def subject_claims(person: Person | SignedIn | None, client_id: str) -> dict[str, Any]:
    """Who a token is for: `person`, or the client itself when that is None."""
    if person is None:
        return {"sub": client_id}
    if isinstance(person, SignedIn):
        return {
            "sub": person.user_id,
            "person_kind": "user",
            "auth_time": int(person.auth_time.timestamp()),
            "sid": person.family,
        }
    subject = GUEST + person.id if person.kind == "guest" else person.id
    return {"sub": subject, "person_kind": person.kind}


def person_of(claims: Mapping[str, Any]) -> Person | None:
    """The person a token is for; None for a client's own token. Raises ValueError for contradicting claims."""
    kind, subject = claims.get("person_kind"), claims["sub"]
    if kind == "user" and not subject.startswith(RESERVED):
        return Person("user", subject)
    if kind == "guest" and subject.startswith(GUEST):
        return Person("guest", subject.removeprefix(GUEST))
    if kind is None and subject == claims["client_id"]:
        return None
    raise ValueError("sub and person_kind contradict each other")
