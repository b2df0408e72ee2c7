"""Models, the serving row, and decisions: the serving row changes only together with a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from core.errors import InvalidInput
from db.jobs import FORECAST
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

MAIN_SLOT, FORECAST_SLOT = "main", "forecast"  # the rows of `serving` that gateways follow
Action = Literal["PROMOTED", "REFUSED", "ROLLED_BACK", "REFRESHED"]

_MODEL = "id, kind, created_at, digest, evaluation, registry_version, training, pruned_at, refreshed_from"
_SERVING = "bundle, generation, changed_at"
_DECISION = (
    "id, decided_at, CASE WHEN refreshed THEN 'REFRESHED' ELSE action END AS action, bundle, previous, reason,"
    " evidence, decided_by"
)


@dataclass(frozen=True, slots=True)
class Model:
    """A registered bundle."""

    id: str
    kind: str
    created_at: datetime
    digest: str
    evaluation: dict[str, Any]
    registry_version: str | None
    training: dict[str, Any] = field(default_factory=dict)  # where it comes from; empty in models of earlier versions
    pruned_at: datetime | None = None  # when the files of its bundle were deleted
    refreshed_from: str | None = None  # the model whose weights it has, with tables as of a later moment

    @property
    def baseline(self) -> str | None:
        """The baseline that this model is; None for a trained one."""
        return self.evaluation.get("baseline")

    @property
    def horizon(self) -> int | None:
        """The seconds within which its probabilities expect a purchase; None without calibrated probabilities."""
        return self.evaluation.get("horizon")


@dataclass(frozen=True, slots=True)
class Serving:
    """The bundle that serves; `generation` grows with every change."""

    bundle: str
    generation: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about a bundle: its reason, evidence and author."""

    id: int
    decided_at: datetime
    action: Action
    bundle: str
    previous: str | None
    reason: str
    evidence: dict[str, Any]
    decided_by: str


def slot_of(kind: str) -> str:
    """The slot in which models of a kind serve."""
    return FORECAST_SLOT if kind == FORECAST else MAIN_SLOT


async def register_model(connection: Connection, model: Model) -> None:
    """Register a written bundle; registering it again changes only its registry version."""
    await connection.execute(
        "INSERT INTO models (id, kind, created_at, digest, evaluation, registry_version, training, refreshed_from)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE"
        " SET registry_version = coalesce(EXCLUDED.registry_version, models.registry_version)",
        model.id,
        model.kind,
        model.created_at,
        model.digest,
        model.evaluation,
        model.registry_version,
        model.training,
        model.refreshed_from,
    )


async def promote(
    connection: Connection,
    bundle: str,
    reason: str,
    evidence: Mapping[str, Any],
    decided_by: str,
    *,
    action: Action = "PROMOTED",
) -> Serving:
    """Let this bundle serve in the slot of its kind and record the decision, both or neither.

    Raises InvalidInput for an unknown bundle.
    """
    async with transaction(connection) as inside:
        slot = await _lock(inside, bundle)
        previous = await inside.fetchval("SELECT bundle FROM serving WHERE slot = $1", slot)
        row = await inside.fetchrow(
            "INSERT INTO serving (slot, bundle, generation) VALUES ($1, $2, 1) ON CONFLICT (slot) DO UPDATE"
            " SET bundle = EXCLUDED.bundle, generation = serving.generation + 1, changed_at = now()"
            f" RETURNING {_SERVING}",
            slot,
            bundle,
        )
        await _record(inside, action, slot, bundle, previous, reason, evidence, decided_by)
    return Serving(**row)


async def refuse(
    connection: Connection, bundle: str, reason: str, evidence: Mapping[str, Any], decided_by: str
) -> None:
    """Record that this bundle was refused. Raises InvalidInput for an unknown bundle."""
    async with transaction(connection) as inside:
        slot = await _lock(inside, bundle)
        serving = await inside.fetchval("SELECT bundle FROM serving WHERE slot = $1", slot)
        await _record(inside, "REFUSED", slot, bundle, serving, reason, evidence, decided_by)


async def refresh(
    connection: Connection, bundle: str, reason: str, evidence: Mapping[str, Any], decided_by: str
) -> Serving:
    """Let this bundle serve, which has the weights of what serves with newer tables, and record the decision."""
    return await promote(connection, bundle, reason, evidence, decided_by, action="REFRESHED")


async def bundle_before(connection: Connection, slot: str = MAIN_SLOT) -> str | None:
    """The bundle that served before the current model of a slot was promoted; None when there was none.

    A bundle with refreshed tables is the same model as the one before: a rollback does not lead to older tables.
    """
    bundle: str | None = await connection.fetchval(
        """
        WITH versions AS (
            SELECT model.id FROM serving
            JOIN models AS now ON now.id = serving.bundle
            JOIN models AS model ON coalesce(model.refreshed_from, model.id) = coalesce(now.refreshed_from, now.id)
            WHERE slot = $1
        )
        SELECT previous FROM decisions
        WHERE slot = $1 AND action = 'PROMOTED' AND NOT refreshed
            AND bundle IN (SELECT id FROM versions) AND previous NOT IN (SELECT id FROM versions)
        ORDER BY id DESC LIMIT 1
        """,
        slot,
    )
    return bundle


async def roll_back(connection: Connection, reason: str, decided_by: str, slot: str = MAIN_SLOT) -> Serving:
    """Let the bundle serve in a slot that did before the current one was promoted, and record why.

    Raises InvalidInput when nothing served before.
    """
    async with transaction(connection) as inside:
        await _one_decision_at_a_time(inside)
        earlier = await bundle_before(inside, slot)
        if earlier is None:
            raise InvalidInput("Nothing served before the current model.")
        return await promote(inside, earlier, reason, {}, decided_by, action="ROLLED_BACK")


async def decision_about(connection: Connection, bundle: str) -> Decision | None:
    """The newest decision about a bundle."""
    row = await connection.fetchrow(
        f"SELECT {_DECISION} FROM decisions WHERE bundle = $1 ORDER BY id DESC LIMIT 1", bundle
    )
    return row and Decision(**row)


async def decision_about_trained(connection: Connection, slot: str = MAIN_SLOT) -> Decision | None:
    """The newest decision about a trained model of a slot: a baseline that stands in and refreshed tables are none."""
    row = await connection.fetchrow(
        f"SELECT {_DECISION} FROM decisions WHERE slot = $1 AND NOT refreshed AND NOT EXISTS (SELECT FROM models"
        " WHERE models.id = decisions.bundle AND evaluation ->> 'baseline' IS NOT NULL) ORDER BY id DESC LIMIT 1",
        slot,
    )
    return row and Decision(**row)


async def newest_decisions(connection: Connection, bundles: Sequence[str]) -> dict[str, Decision]:
    """The newest decision about each of some bundles; a bundle without one is left out."""
    rows = await connection.fetch(
        f"SELECT DISTINCT ON (bundle) {_DECISION} FROM decisions WHERE bundle = ANY($1) ORDER BY bundle, id DESC",
        list(bundles),
    )
    return {row["bundle"]: Decision(**row) for row in rows}


async def gate_decisions(connection: Connection, bundles: Sequence[str]) -> dict[str, Decision]:
    """The gate's decision about each of some bundles; a bundle that it has not judged is left out."""
    rows = await connection.fetch(
        f"SELECT DISTINCT ON (bundle) {_DECISION} FROM decisions WHERE bundle = ANY($1)"
        " AND evidence ? 'job' AND action IN ('PROMOTED', 'REFUSED') ORDER BY bundle, id",
        list(bundles),
    )
    return {row["bundle"]: Decision(**row) for row in rows}


async def lock_decisions(connection: Connection) -> None:
    """Until the end of the transaction no other one decides what serves."""
    await _one_decision_at_a_time(connection)


async def prunable_bundles(connection: Connection, keep: int, served_since: datetime) -> list[str]:
    """Bundles that may be deleted, oldest first.

    Those that are not among the newest `keep` of their kind, do not serve, are not what a rollback leads to, and have
    not served since then; tables that were refreshed again do not count as having served.
    """
    before = [await bundle_before(connection, slot) for slot in (MAIN_SLOT, FORECAST_SLOT)]
    rows = await connection.fetch(
        """
        SELECT id FROM models
        WHERE pruned_at IS NULL
            AND id NOT IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY kind ORDER BY created_at DESC, id DESC) AS age
                    FROM models
                ) AS newest WHERE age <= $1
            )
            AND id NOT IN (SELECT bundle FROM serving)
            AND id <> ALL($2::text[])
            AND NOT EXISTS (
                SELECT FROM decisions WHERE action <> 'REFUSED' AND NOT refreshed AND decided_at >= $3
                    AND (bundle = models.id OR previous = models.id)
            )
        ORDER BY created_at, id
        """,
        keep,
        [id for id in before if id is not None],
        served_since,
    )
    return [row["id"] for row in rows]


async def mark_pruned(connection: Connection, bundle: str) -> None:
    """Record that the files of this bundle are deleted: it cannot be promoted any more."""
    await connection.execute("UPDATE models SET pruned_at = now() WHERE id = $1", bundle)


async def registered(connection: Connection, bundles: Sequence[str]) -> set[str]:
    """Those of some names that are registered bundles."""
    rows = await connection.fetch("SELECT id FROM models WHERE id = ANY($1)", list(bundles))
    return {row["id"] for row in rows}


async def current_serving(connection: Connection, slot: str = MAIN_SLOT) -> Serving | None:
    """The bundle that serves in a slot now; None before the first promotion."""
    row = await connection.fetchrow(f"SELECT {_SERVING} FROM serving WHERE slot = $1", slot)
    return row and Serving(**row)


async def model_by_id(connection: Connection, id: str) -> Model | None:
    """The registered model with this id."""
    row = await connection.fetchrow(f"SELECT {_MODEL} FROM models WHERE id = $1", id)
    return row and Model(**row)


async def models_by_ids(connection: Connection, ids: Sequence[str]) -> dict[str, Model]:
    """The registered models with these ids, by id; those that are not there are left out."""
    rows = await connection.fetch(f"SELECT {_MODEL} FROM models WHERE id = ANY($1::text[])", list(ids))
    return {row["id"]: Model(**row) for row in rows}


async def decisions_by_ids(connection: Connection, ids: Sequence[int]) -> dict[int, Decision]:
    """The decisions with these ids, by id; those that are not there are left out."""
    rows = await connection.fetch(f"SELECT {_DECISION} FROM decisions WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"]: Decision(**row) for row in rows}


async def serving_rows(connection: Connection, bundles: Sequence[str]) -> dict[str, Serving]:
    """The serving rows of these bundles, by bundle; those that do not serve, as an anchor alone, are left out."""
    rows = await connection.fetch(
        f"SELECT {_SERVING} FROM serving WHERE slot = ANY($1::text[]) AND bundle = ANY($2::text[])",
        [MAIN_SLOT, FORECAST_SLOT],
        list(bundles),
    )
    return {row["bundle"]: Serving(**row) for row in rows}


async def list_models(
    connection: Connection, first: int, before: tuple[datetime, str] | None = None, *, kind: str | None = None
) -> list[Model]:
    """At most `first` models, newest first, of one kind or of all.

    `before` is the (created_at, id) after which the page begins.
    """
    rows = await connection.fetch(
        f"SELECT {_MODEL} FROM models WHERE ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::text))"
        " AND ($4::text IS NULL OR kind = $4) ORDER BY created_at DESC, id DESC LIMIT $1",
        first,
        *(before or (None, None)),
        kind,
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


async def count_models(connection: Connection) -> int:
    """How many models are registered."""
    return int(await connection.fetchval("SELECT count(*) FROM models"))


async def count_decisions(connection: Connection) -> int:
    """How many decisions there are."""
    return int(await connection.fetchval("SELECT count(*) FROM decisions"))


async def _lock(connection: Connection, bundle: str) -> str:
    """The slot of the bundle; until the end of the transaction no other one decides what serves."""
    await _one_decision_at_a_time(connection)
    row = await connection.fetchrow("SELECT kind, pruned_at FROM models WHERE id = $1", bundle)
    if row is None:
        raise InvalidInput(f"There is no model {bundle!r}.", field="id")
    if row["pruned_at"] is not None:
        raise InvalidInput(f"The files of the model {bundle!r} were deleted, because it is old.", field="id")
    return slot_of(row["kind"])


async def _one_decision_at_a_time(connection: Connection) -> None:
    await lock_transaction(connection, AdvisoryLock.DECISIONS, MAIN_SLOT)  # a slot may have no row to lock yet


async def _record(connection: Connection, *values: Any) -> None:
    await connection.execute(
        "INSERT INTO decisions (action, refreshed, slot, bundle, previous, reason, evidence, decided_by)"
        " VALUES (CASE $1::text WHEN 'REFRESHED' THEN 'PROMOTED' ELSE $1 END, $1 = 'REFRESHED',"
        " $2, $3, $4, $5, $6, $7)",
        *values,
    )
