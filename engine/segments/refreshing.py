"""Finds the members of the segments that are due. It reads all purchases, as a training does."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from core import clock
from core.errors import InvalidInput, StoreUnavailable
from db.postgres import Pool
from db.purchases import purchase_log
from db.segment_figures import Figures, FiguresMade, users_where, write_figures
from db.segments import ERASURE_TAKES, claim_due_segments, list_segments, write_snapshot
from db.serving import FORECAST_SLOT, current_serving
from engine.models.training import as_log
from engine.segments.settings import Where, read_segment
from ml.bundle import Bundle, BundleRefused
from ml.hazard.forecasts import log_quiet
from ml.hazard.methods import logits_of
from ml.hazard.model import ForecastModel
from ml.log import Log
from ml.rfm import DAY, SEGMENTS, quintiles
from ml.segments import Customers, customers, rfm_segments

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
    which is tried again later; the others go on. Raises StoreUnavailable while Postgres is away.
    """
    due = await claim_due_segments(pool)
    if not due:
        return Refreshed(0, 0)
    wanted = {id: where for id, definition in due.items() if (where := _conditions(id, definition))}
    read_at = clock.now()
    made = await _write_figures(pool, bundles, read_at)
    count, failed = 0, len(due) - len(wanted)
    for id, where in wanted.items():
        if where.need_forecast and not made.forecast:
            log.warning("segment_without_forecast", segment=id)
            continue
        try:
            found = await users_where(pool, where.as_json(), made.as_of)
            if await write_snapshot(pool, id, due[id], found, read_at):
                log.info("segment_refreshed", segment=id, members=len(found))
            count += 1
        except Exception as error:  # whatever is wrong with one segment, the members of the others are found
            if isinstance(error, StoreUnavailable):  # a statement that took too long is one, too
                await pool.fetchval("SELECT 1")
            log.exception("segment_not_refreshed", segment=id, error=type(error).__name__)
            failed += 1
    return Refreshed(count, failed)


def _conditions(id: str, definition: Mapping[str, Any]) -> Where | None:
    """What a stored definition asks for; None for one that cannot be read, such as that of a later release."""
    try:
        return read_segment({"name": id, "where": definition}).where
    except InvalidInput as error:
        log.exception("segment_not_refreshed", segment=id, error=type(error).__name__)
        return None


async def _write_figures(pool: Pool, bundles: Path, read_at: datetime) -> FiguresMade:
    """Find the figures of all users as of now; those of forecasts if a segment, due or not, needs them."""
    log_now = as_log(await purchase_log(pool, read_at, browsed=0), {})
    edges = await _serving_edges(pool, bundles)
    as_of = int(clock.now().timestamp())
    who = await asyncio.to_thread(customers, log_now, as_of)
    edges = quintiles(who.rfm) if edges is None else edges
    conditions = [_conditions(each.id, each.definition) for each in await list_segments(pool)]
    needed = any(each is not None and each.need_forecast for each in conditions)
    quiet = await _quiet(pool, bundles, log_now, who, as_of) if needed else None
    made = FiguresMade(datetime.fromtimestamp(as_of, UTC), forecast=quiet is not None)
    figures = await asyncio.to_thread(_figures, who, rfm_segments(who, edges), quiet, as_of)
    await write_figures(pool, figures, made, read_at - ERASURE_TAKES)
    return made


def _figures(
    who: Customers, segments: NDArray[np.intp], quiet: NDArray[np.float64] | None, as_of: int
) -> list[Figures]:
    return [
        Figures(id, datetime.fromtimestamp(as_of - recency * DAY, UTC), int(orders), int(cents), SEGMENTS[segment], row)
        for id, recency, orders, cents, segment, row in zip(
            who.ids.tolist(),
            who.recency.tolist(),
            who.orders.tolist(),
            who.cents.tolist(),
            segments.tolist(),
            repeat(None) if quiet is None else quiet.tolist(),
            strict=False,
        )
    ]


async def _quiet(pool: Pool, bundles: Path, purchases: Log, who: Customers, as_of: int) -> NDArray[np.float64] | None:
    """What the forecast that serves says of the customers, as `User.churn` does; None where none can be read here."""
    serving = await current_serving(pool, FORECAST_SLOT)
    if serving is None:
        return None

    def read() -> NDArray[np.float64]:
        return log_quiet(logits_of(ForecastModel.open(bundles / serving.bundle), purchases, who.people, as_of))

    try:
        return await asyncio.to_thread(read)
    except Exception as error:  # whatever is wrong with that folder, segments without a forecast do not need it
        log.warning("forecast_not_read", bundle=serving.bundle, error=type(error).__name__)
        return None


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
