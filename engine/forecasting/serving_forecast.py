"""The forecast that serves: follows its serving row and opens what was promoted."""

import asyncio
from pathlib import Path

import structlog

from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.postgres import Pool
from db.serving import FORECAST_SLOT, Serving, current_serving
from ml.bundle import BundleRefused
from ml.hazard.model import ForecastModel

log = structlog.get_logger()

MAX_RETRY_DELAY = 60.0  # seconds between two attempts to open a bundle that was refused


class ServingForecast:
    """One answer must read `current` once: it may change meanwhile. `poll` is in seconds."""

    def __init__(self, pool: Pool, bundles: Path, *, poll: float) -> None:
        self._pool, self._bundles, self._poll = pool, bundles, poll
        self._generation = 0
        self._refused_generation, self._pause, self._not_before = 0, 0.0, 0.0
        self.current: ForecastModel | None = None

    async def load(self) -> None:
        """Follow the serving row once."""
        row = await current_serving(self._pool, FORECAST_SLOT)
        if row is None or row.generation == self._generation:
            return
        now = asyncio.get_running_loop().time()
        if row.generation == self._refused_generation and now < self._not_before:
            return
        try:
            self.current = await self._open(row.bundle)
        except Exception as error:  # whatever is wrong with that folder, the current forecast goes on serving
            self._refuse(row, str(error) or repr(error), now)
            return
        self._generation = row.generation
        log.info("forecast_serves", bundle=row.bundle, generation=row.generation)

    async def run(self) -> None:
        """Follow the serving row until cancelled."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.load()
            except StoreUnavailable as error:
                log_unavailable(error, doing="read the serving row of the forecast")
            except Exception as error:  # a bug must not end this task: nothing else would restart it
                log.warning("forecast_row_not_read", error=repr(error))

    def _refuse(self, row: Serving, why: str, now: float) -> None:
        """Log it, and try again with growing delays: the files may still be arriving."""
        again = row.generation == self._refused_generation
        self._pause = min(max(2 * self._pause, self._poll), MAX_RETRY_DELAY) if again else self._poll
        self._refused_generation, self._not_before = row.generation, now + self._pause
        still = self.current and self.current.id
        log.error("forecast_refused", bundle=row.bundle, why=why, still_serving=still)

    async def _open(self, id: str) -> ForecastModel:
        if Path(id).name != id:
            raise BundleRefused(f"bundle {id!r} is not the name of a folder")
        return await asyncio.to_thread(ForecastModel.open, self._bundles / id)
