"""Finds the members of the segments that are due. It reads all purchases, as a training does."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from core import clock
from core.errors import StoreUnavailable
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


class Refreshed(NamedTuple):
    """Of how many segments the members were found, and of how many an error kept them from being found."""

    found: int
    failed: int


async def refresh_segments(pool: Pool, bundles: Path) -> Refreshed:
    """Find the members of all segments that are due. Twice at once is harmless.

    The fifths of RFM are those of the bundle that serves, as in `User.rfm`; without it, those of the users now. Where
    no forecast serves, the members of a segment that needs one stay as they are. So do those of a segment that fails,
    which is tried again later; the others go on.
    """
    due = await claim_due_segments(pool)
    if not due:
        return Refreshed(0, 0)
    read_at = clock.now()
    log_now = as_log(await purchase_log(pool, read_at, browsed=0), {})
    edges = await _serving_edges(pool, bundles)
    as_of = int(clock.now().timestamp())
    who = await asyncio.to_thread(customers, log_now, as_of)
    edges = quintiles(who.rfm) if edges is None else edges
    wanted = {id: conditions for id, definition in due.items() if (conditions := _conditions(id, definition))}
    needed = any(conditions.need_forecast for conditions in wanted.values())
    foretold = await _no_order(pool, bundles, log_now, who, as_of) if needed else None
    count, failed = 0, len(due) - len(wanted)
    for id, conditions in wanted.items():
        if conditions.need_forecast and foretold is None:
            log.warning("segment_without_forecast", segment=id)
            continue
        try:
            found = await asyncio.to_thread(members, who, conditions, edges, foretold)
            if await write_snapshot(pool, id, due[id], found, read_at):
                log.info("segment_refreshed", segment=id, members=len(found))
            count += 1
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever is wrong with one segment, the members of the others are found
            log.exception("segment_not_refreshed", segment=id, error=type(error).__name__)
            failed += 1
    return Refreshed(count, failed)


def _conditions(id: str, definition: Mapping[str, Any]) -> Conditions | None:
    """What a stored definition asks for; None for one that cannot be read, such as that of a later release."""
    try:
        return Conditions.read(definition)
    except (LookupError, TypeError, ValueError) as error:
        log.exception("segment_not_refreshed", segment=id, error=type(error).__name__)
        return None


async def _no_order(pool: Pool, bundles: Path, purchases: Log, who: Customers, as_of: int) -> NoOrder | None:
    """What the forecast that serves says of the customers, as `User.churn` does; None where none can be read here."""
    serving = await current_serving(pool, FORECAST_SLOT)
    if serving is None:
        return None

    def logits() -> Floats:
        return logits_of(ForecastModel.open(bundles / serving.bundle), purchases, who.people, as_of)

    try:
        found = await asyncio.to_thread(logits)
    except Exception as error:  # whatever is wrong with that folder, segments without a forecast do not need it
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
