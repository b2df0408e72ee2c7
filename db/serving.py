"""Models, what serves, and why: the serving row changes only together with its decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from core.errors import InvalidInput
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

MAIN = "main"
Action = Literal["PROMOTED", "REFUSED", "ROLLED_BACK"]

_MODEL = "id, kind, created_at, digest, evaluation, registry_version"
_SERVING = "slot, bundle, share, generation, changed_at"
_DECISION = "id, decided_at, action, slot, bundle, previous, reason, evidence, decided_by"


@dataclass(frozen=True, slots=True)
class Model:
    """A trained bundle that was written."""

    id: str
    kind: str
    created_at: datetime
    digest: str
    evaluation: dict[str, Any]
    registry_version: str | None


@dataclass(frozen=True, slots=True)
class Serving:
    """What a slot serves; `generation` grows with every change."""

    slot: str
    bundle: str
    share: float
    generation: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a bundle, why, on which evidence, by whom."""

    id: int
    decided_at: datetime
    action: Action
    slot: str
    bundle: str
    previous: str | None
    reason: str
    evidence: dict[str, Any]
    decided_by: str


async def register_model(connection: Connection, model: Model) -> None:
    """Remember a written bundle; writing the same one again renews its registry version only."""
    await connection.execute(
        f"INSERT INTO models ({_MODEL}) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE"
        " SET registry_version = coalesce(EXCLUDED.registry_version, models.registry_version)",
        model.id,
        model.kind,
        model.created_at,
        model.digest,
        model.evaluation,
        model.registry_version,
    )


async def promote(
    connection: Connection,
    slot: str,
    bundle: str,
    reason: str,
    evidence: Mapping[str, Any],
    decided_by: str,
    *,
    action: Action = "PROMOTED",
) -> Serving:
    """Let the slot serve this bundle and record why, both or neither. Raises InvalidInput for an unknown bundle."""
    async with transaction(connection) as inside:
        await _lock(inside, slot, bundle)
        previous = await inside.fetchval("SELECT bundle FROM serving WHERE slot = $1", slot)
        row = await inside.fetchrow(
            "INSERT INTO serving (slot, bundle, generation) VALUES ($1, $2, 1) ON CONFLICT (slot) DO UPDATE"
            " SET bundle = EXCLUDED.bundle, share = 1, generation = serving.generation + 1, changed_at = now()"
            f" RETURNING {_SERVING}",
            slot,
            bundle,
        )
        await _record(inside, action, slot, bundle, previous, reason, evidence, decided_by)
    return Serving(**row)


async def refuse(
    connection: Connection, slot: str, bundle: str, reason: str, evidence: Mapping[str, Any], decided_by: str
) -> None:
    """Record why this bundle does not serve. Raises InvalidInput for an unknown bundle."""
    async with transaction(connection) as inside:
        await _lock(inside, slot, bundle)
        serving = await inside.fetchval("SELECT bundle FROM serving WHERE slot = $1", slot)
        await _record(inside, "REFUSED", slot, bundle, serving, reason, evidence, decided_by)


async def bundle_before(connection: Connection, slot: str) -> str | None:
    """What the slot served when what it serves now was promoted; None when nothing did."""
    bundle: str | None = await connection.fetchval(
        "SELECT previous FROM decisions JOIN serving USING (slot, bundle)"
        " WHERE slot = $1 AND action = 'PROMOTED' AND previous <> bundle ORDER BY id DESC LIMIT 1",
        slot,
    )
    return bundle


async def roll_back(connection: Connection, slot: str, reason: str, decided_by: str) -> Serving:
    """Let the slot serve what it served before the current bundle was promoted, and record why.

    Raises InvalidInput when nothing served before.
    """
    async with transaction(connection) as inside:
        await _one_decision_at_a_time(inside, slot)
        earlier = await bundle_before(inside, slot)
        if earlier is None:
            raise InvalidInput("Nothing served before the current model.")
        return await promote(inside, slot, earlier, reason, {}, decided_by, action="ROLLED_BACK")


async def decision_about(connection: Connection, slot: str, bundle: str) -> Decision | None:
    """The newest decision about a bundle."""
    row = await connection.fetchrow(
        f"SELECT {_DECISION} FROM decisions WHERE slot = $1 AND bundle = $2 ORDER BY id DESC LIMIT 1", slot, bundle
    )
    return row and Decision(**row)


async def current_serving(connection: Connection) -> list[Serving]:
    """What every slot serves now."""
    return [Serving(**row) for row in await connection.fetch(f"SELECT {_SERVING} FROM serving ORDER BY slot")]


async def serving_in(connection: Connection, slot: str) -> Serving | None:
    """What the slot serves now; None before the first promotion."""
    row = await connection.fetchrow(f"SELECT {_SERVING} FROM serving WHERE slot = $1", slot)
    return row and Serving(**row)


async def model_by_id(connection: Connection, id: str) -> Model | None:
    """The registered model with this id."""
    row = await connection.fetchrow(f"SELECT {_MODEL} FROM models WHERE id = $1", id)
    return row and Model(**row)


async def list_models(connection: Connection, first: int, before: tuple[datetime, str] | None = None) -> list[Model]:
    """At most `first` models, newest first; `before` is the (created_at, id) after which the page begins."""
    rows = await connection.fetch(
        f"SELECT {_MODEL} FROM models WHERE $2::timestamptz IS NULL OR (created_at, id) < ($2, $3::text)"
        " ORDER BY created_at DESC, id DESC LIMIT $1",
        first,
        *(before or (None, None)),
    )
    return [Model(**row) for row in rows]


async def list_decisions(connection: Connection, first: int, before: int | None = None) -> list[Decision]:
    """At most `first` decisions, newest first; `before` is the id after which the page begins."""
    rows = await connection.fetch(
        f"SELECT {_DECISION} FROM decisions WHERE $2::bigint IS NULL OR id < $2 ORDER BY id DESC LIMIT $1",
        first,
        before,
    )
    return [Decision(**row) for row in rows]


async def _lock(connection: Connection, slot: str, bundle: str) -> None:
    await _one_decision_at_a_time(connection, slot)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM models WHERE id = $1)", bundle):
        raise InvalidInput(f"There is no model {bundle!r}.", field="id")


async def _one_decision_at_a_time(connection: Connection, slot: str) -> None:
    await lock_transaction(connection, AdvisoryLock.DECISIONS, slot)  # the slot may have no row to lock yet


async def _record(connection: Connection, *values: Any) -> None:
    await connection.execute(
        "INSERT INTO decisions (action, slot, bundle, previous, reason, evidence, decided_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *values,
    )
