"""The placements as a process knows them: those with settings, read again when one changed."""

import asyncio

import structlog

from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from db.placements import MOST_PLACEMENTS, StoredPlacement, list_placements, newest_change
from db.postgres import Connection
from engine.placements.placement import Placement
from engine.placements.settings import read_settings
from engine.reasons.texts import ReasonTexts

log = structlog.get_logger()


class ServingPlacements:
    """The newest version of every placement with settings, at most `poll` seconds old while Postgres answers.

    `texts` are those of all lists.
    """

    def __init__(self, pool: Connection, texts: ReasonTexts, *, poll: float) -> None:
        self._pool, self._poll, self.texts = pool, poll, texts
        self._change = 0
        self._known: dict[str, Placement] = {}
        self._refreshing = asyncio.Lock()

    def find(self, id: str) -> Placement | None:
        """The placement of this name; None for one without settings, whose lists are as by default."""
        return self._known.get(id)

    async def refresh(self) -> None:
        """Read the placements if one changed. Raises StoreUnavailable."""
        async with self._refreshing:
            change = await newest_change(self._pool)
            if change == self._change:
                return
            rows = await list_placements(self._pool, MOST_PLACEMENTS)
            self._known = {row.id: placement for row in rows if (placement := self._placement(row)) is not None}
            self._change = change
            log.info("placements_changed", placements=len(rows))

    async def refresh_after_change(self) -> None:
        """Follow a change that was just saved; while Postgres is away, the next refresh does."""
        try:
            await self.refresh()
        except StoreUnavailable as error:
            log_unavailable(error, doing="read the placements after a change")

    async def run(self) -> None:
        """Refresh for ever. What was read last goes on while Postgres is away."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log_unavailable(error, doing="read the placements")
            except Exception as error:  # nobody awaits this task, so it must survive any error
                log.warning("placements_not_read", error=repr(error))

    def _placement(self, row: StoredPlacement) -> Placement | None:
        """The placement; the object that is known already while its version is the same."""
        known = self._known.get(row.id)
        if known is not None and known.version == row.version:
            return known
        try:
            return Placement.of(row.id, row.version, read_settings(row.settings), self.texts)
        except InvalidInput as error:  # of a later release: what this one knows goes on
            log.warning("placement_not_read", placement=row.id, version=row.version, error=str(error))
            return known
