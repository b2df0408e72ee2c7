"""Who asks, as the access token says."""

from dataclasses import dataclass

from core.contract import Person


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whom an access token names. `person` is None for a client's own token; `expires_at` is in seconds since 1970."""

    client_id: str
    scopes: frozenset[str]
    person: Person | None
    expires_at: int
