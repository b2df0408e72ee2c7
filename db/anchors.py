"""The anchor: the best version so far, which no later one may be worse than. A slot of `serving` holds it.

Each promotion compares with the version before it, so quality could fall by a little each time. The anchor stays, so it
cannot: only a version that is better beyond chance takes its place.
"""

from typing import Final

from db.postgres import Connection

_SLOT: Final = "anchor"


async def current_anchor(connection: Connection) -> str | None:
    """The bundle that is pinned; None before the first promotion."""
    bundle: str | None = await connection.fetchval("SELECT bundle FROM serving WHERE slot = $1", _SLOT)
    return bundle


async def pin_anchor(connection: Connection, bundle: str) -> None:
    """Pin a registered bundle in place of the one before."""
    await connection.execute(
        "INSERT INTO serving (slot, bundle, generation) VALUES ($1, $2, 1) ON CONFLICT (slot) DO UPDATE"
        " SET bundle = EXCLUDED.bundle, generation = serving.generation + 1, changed_at = now()",
        _SLOT,
        bundle,
    )
