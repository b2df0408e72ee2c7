"""Finds the members of the segments that are due. It reads all purchases, as a training does."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from core import clock
from db.postgres import Pool
from db.purchases import purchase_log
from db.segments import claim_due_segments, write_snapshot
from db.serving import FORECAST_SLOT, current_serving
from engine.models.training import as_log
from ml.bundle import Bundle, BundleRefused
from ml.hazard.examples import Floats
from ml.hazard.forecasts import no_order
from ml.hazard.methods import logits_of
from ml.hazard.model import ForecastModel
from ml.log import Log
from ml.rfm import quintiles
from ml.segments import Conditions, Customers, NoOrder, customers, members

log = structlog.get_logger()

_EDGES: Final = "rfm_edges"


async def refresh_segments(pool: Pool, bundles: Path) -> int:
    """Find the members of all segments that are due; returns of how many. Twice at once is harmless.

    The fifths of RFM are those of the bundle that serves, as in `User.rfm`; without it, those of the users now. Where
    no forecast serves, the members of a segment that needs one stay as they are.
    """
    due = await claim_due_segments(pool)
    if not due:
        return 0
    read_at = clock.now()
    log_now = as_log(await purchase_log(pool, read_at, browsed=0), {})
    edges = await _serving_edges(pool, bundles)
    as_of = int(clock.now().timestamp())
    who = await asyncio.to_thread(customers, log_now, as_of)
    edges = quintiles(who.rfm) if edges is None else edges
    wanted = {id: Conditions.read(definition) for id, definition in due.items()}
    needed = any(conditions.need_forecast for conditions in wanted.values())
    foretold = await _no_order(pool, bundles, log_now, who, as_of) if needed else None
    count = 0
    for id, definition in due.items():
        if wanted[id].need_forecast and foretold is None:
            log.warning("segment_without_forecast", segment=id)
            continue
        count += 1
        found = await asyncio.to_thread(members, who, wanted[id], edges, foretold)
        if await write_snapshot(pool, id, definition, found, read_at):
            log.info("segment_refreshed", segment=id, members=len(found))
    return count


async def _no_order(pool: Pool, bundles: Path, purchases: Log, who: Customers, as_of: int) -> NoOrder | None:
    """What the forecast that serves says of the customers, as `User.churn` does; None where none can be read here."""
    serving = await current_serving(pool, FORECAST_SLOT)
    if serving is None:
        return None

    def logits() -> Floats:
        return logits_of(ForecastModel.open(bundles / serving.bundle), purchases, who.people, as_of)

    try:
        found = await asyncio.to_thread(logits)
    except (BundleRefused, OSError) as error:
        log.warning("forecast_not_read", bundle=serving.bundle, error=type(error).__name__)
        return None
    return partial(no_order, found)


async def _serving_edges(pool: Pool, bundles: Path) -> NDArray[np.float64] | None:
    """The edges between fifths in the bundle that serves; None where it cannot be read here."""
    serving = await current_serving(pool)
    if serving is None:
        return None
    try:
        return await asyncio.to_thread(lambda: np.array(Bundle.open(bundles / serving.bundle).array(_EDGES)))
    except (BundleRefused, OSError, KeyError) as error:
        log.warning("rfm_edges_not_read", bundle=serving.bundle, error=type(error).__name__)
        return None
