"""What people decide about models: promote one, or go back to the one before. Its bundle is opened first."""

import asyncio
from pathlib import Path

import asyncpg

from core.contract import check_id, check_reason
from core.errors import InvalidInput
from db.serving import (
    Serving,
    bundle_before,
    decision_about,
    model_by_id,
    promote,
    roll_back,
)
from ml.affinity.model import AffinityModel
from ml.bundle import BundleRefused


class GateRefused(InvalidInput):
    """The gate did not let this model serve."""


class CannotServe(InvalidInput):
    """The model's bundle cannot be opened."""


async def promote_model(
    pool: asyncpg.Pool, bundles: Path, id: str, reason: str, decided_by: str, *, override_gate: bool = False
) -> Serving:
    """Let a model serve. Raises InvalidInput for an unknown one, GateRefused, and CannotServe."""
    if await model_by_id(pool, check_id(id, "id")) is None:
        raise InvalidInput(f"There is no model {id!r}.", field="id")
    if not override_gate and (refusal := await _refusal(pool, id)):
        raise GateRefused(refusal, field="id")
    await _check(bundles, id)
    return await promote(pool, id, check_reason(reason), {"override_gate": override_gate}, decided_by)


async def roll_back_model(pool: asyncpg.Pool, bundles: Path, reason: str, decided_by: str) -> Serving:
    """Let the model serve that did before this one was promoted. Raises InvalidInput without one, and CannotServe."""
    earlier = await bundle_before(pool)
    if earlier is not None:
        await _check(bundles, earlier)
    return await roll_back(pool, check_reason(reason), decided_by)


async def _refusal(pool: asyncpg.Pool, id: str) -> str | None:
    """Why the gate would not let it serve; None when it did."""
    last = await decision_about(pool, id)
    if last is None:
        return "The gate has not judged this model."
    return f"The gate refused this model: {last.reason}" if last.action == "REFUSED" else None


async def _check(bundles: Path, id: str) -> None:
    try:
        await asyncio.to_thread(AffinityModel.open, bundles / id)
    except BundleRefused as error:
        raise CannotServe(str(error), field="id") from error
