"""Decides which model serves, by the gate or by a person, and hints the gateways after every change."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from core.contract import check_id, check_reason
from core.errors import InvalidInput
from db.anchors import pin_anchor
from db.cache import hint_serving
from db.jobs import AFFINITY, REFRESH, Job, finish_job, request_once
from db.postgres import Connection, transaction
from db.serving import (
    Model,
    Serving,
    bundle_before,
    current_serving,
    decision_about,
    model_by_id,
    promote,
    refuse,
    register_model,
    roll_back,
    slot_of,
)
from engine.models.kinds import KINDS, kind_named
from ml.bundle import BundleRefused
from ml.gate import Verdict


class GateRefused(InvalidInput):
    """The gate did not let this model serve."""


class CannotServe(InvalidInput):
    """The model's bundle cannot be opened."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A registered baseline that may serve in place of a refused model, and why."""

    model: Model
    reason: str
    evidence: dict[str, Any]


async def decide_by_gate(
    pool: Connection,
    redis: Redis,
    job: Job,
    model: Model,
    verdict: Verdict,
    evidence: dict[str, Any],
    decided_by: str,
    baseline: Baseline | None = None,
    *,
    pins: bool = False,
) -> bool:
    """Register the model of a leased job and promote or refuse it, in the transaction that ends the job.

    The best baseline serves in place of a refused model, unless a trained model serves. Returns whether it does. With
    `pins` a promoted model becomes the anchor. What serves anew is refreshed by a job of its own. Raises LeaseLost when
    another worker has taken the job; nothing is registered in that case.
    """
    stands_in = False
    async with transaction(pool) as inside:
        await register_model(inside, model)
        await (promote if verdict.promote else refuse)(inside, model.id, verdict.reason, evidence, decided_by)
        if baseline is not None and not await trained_model_serves(inside, model.kind):  # no decision can come between
            stands_in = True
            await register_model(inside, baseline.model)
            await promote(inside, baseline.model.id, baseline.reason, baseline.evidence, decided_by)
        if pins:
            await pin_anchor(inside, model.id)
        await finish_job(inside, job, model.id)
        if (verdict.promote or stands_in) and KINDS[model.kind].has_tables:
            await request_once(inside, REFRESH, "after a promotion", decided_by)
    if verdict.promote or stands_in:
        await hint_serving(redis)
    return stands_in


async def trained_model_serves(connection: Connection, kind: str = AFFINITY) -> bool:
    """Whether what serves was promoted as a trained model: a refused one does not replace it, nor does a baseline."""
    row = await current_serving(connection, slot_of(kind))
    serving = await model_by_id(connection, row.bundle) if row else None
    return serving is not None and serving.baseline is None


async def promote_model(
    pool: Connection,
    redis: Redis,
    bundles: Path,
    id: str,
    reason: str,
    decided_by: str,
    *,
    override_gate: bool = False,
) -> Serving:
    """Let a model serve. Raises InvalidInput for an unknown one, GateRefused, and CannotServe.

    Its bundle is opened first.
    """
    model = await model_by_id(pool, check_id(id, "id"))
    if model is None:
        raise InvalidInput(f"There is no model {id!r}.", field="id")
    if not override_gate and (refusal := await _refusal(pool, id)):
        raise GateRefused(refusal, field="id")
    await _check(bundles, id, model.kind)
    serving = await promote(pool, id, check_reason(reason), {"override_gate": override_gate}, decided_by)
    if KINDS[model.kind].has_tables:
        await request_once(pool, REFRESH, "after a promotion", decided_by)
    await hint_serving(redis)
    return serving


async def roll_back_model(
    pool: Connection, redis: Redis, bundles: Path, reason: str, decided_by: str, kind: str = AFFINITY
) -> Serving:
    """Let the model of a kind serve that served before. Raises InvalidInput without one, and CannotServe.

    Its bundle is opened first.
    """
    has_tables, slot = kind_named(kind).has_tables, slot_of(kind)
    earlier = await bundle_before(pool, slot)
    if earlier is not None:
        await _check(bundles, earlier, kind)
    serving = await roll_back(pool, check_reason(reason), decided_by, slot)
    if has_tables:
        await request_once(pool, REFRESH, "after a rollback", decided_by)
    await hint_serving(redis)
    return serving


async def _refusal(pool: Connection, id: str) -> str | None:
    """Why the gate does not let the model serve; None when it does."""
    last = await decision_about(pool, id)
    if last is None:
        return "The gate has not judged this model."
    return f"The gate refused this model: {last.reason}" if last.action == "REFUSED" else None


async def _check(bundles: Path, id: str, kind: str) -> None:
    try:
        await asyncio.to_thread(KINDS[kind].open, bundles / id)
    except BundleRefused as error:
        raise CannotServe(str(error), field="id") from error
