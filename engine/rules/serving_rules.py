"""The rules as a process knows them: read again when one changed, and found anew when one begins or ends."""

import asyncio
from typing import Final

import structlog

from core import clock
from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from db.postgres import Connection
from db.rules import RULES
from db.versioned_settings import StoredSettings
from engine.rules.rule import Rule
from engine.rules.rule_book import RuleBook
from engine.rules.settings import read_rule

log = structlog.get_logger()

AT_ONCE: Final = 200  # rules that are read between two turns of the event loop


class ServingRules:
    """The newest version of every rule, at most `poll` seconds old while Postgres answers."""

    def __init__(self, pool: Connection, *, poll: float) -> None:
        self._pool, self._poll = pool, poll
        self._change = self._booked = 0  # the last change that was read, and the last that the book has
        self._known: dict[str, Rule] = {}
        self._refreshing = asyncio.Lock()
        self.book = RuleBook.empty()

    @property
    def rules(self) -> list[Rule]:
        """All rules, also those that hold later or not any more."""
        return list(self._known.values())

    async def refresh(self) -> None:
        """Read the rules that changed, and find out which hold now. Raises StoreUnavailable, when this is done, too."""
        async with self._refreshing:
            try:
                await self._read()
            finally:  # rules begin and end while Postgres is away, too
                now = clock.now().timestamp()
                if self._change > self._booked or now >= self.book.until:
                    await self._write_book(now)

    async def _write_book(self, now: float) -> None:
        """Find out which rules hold. It takes tens of milliseconds for very many; a failure is mended by the next."""
        change = self._change
        self.book = await asyncio.to_thread(RuleBook, self.rules, now, self.book.kept)
        self._booked = change
        log.info("rules_changed", rules=len(self._known))

    async def refresh_after_change(self) -> None:
        """Follow a change that was just saved; while Postgres is away, the next refresh does."""
        try:
            await self.refresh()
        except StoreUnavailable as error:
            log_unavailable(error, doing="read the rules after a change")

    async def run(self) -> None:
        """Refresh for ever. What was read last goes on while Postgres is away."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log_unavailable(error, doing="read the rules")
            except Exception as error:  # nobody awaits this task, so it must survive any error
                log.warning("rules_not_read", error=repr(error))

    async def _read(self) -> None:
        if await RULES.newest_change(self._pool) > self._change:
            while rows := await RULES.changed_since(self._pool, self._change, AT_ONCE):
                for row in rows.values():
                    self._learn(row)
                self._change = max(rows)

    def _learn(self, row: StoredSettings) -> None:
        if row.settings is None:
            self._known.pop(row.id, None)
            return
        try:
            self._known[row.id] = Rule.of(row.id, row.version, read_rule(row.settings))
        except InvalidInput as error:  # of a later release: what this one knows goes on
            log.warning("rule_not_read", rule=row.id, version=row.version, error=str(error))
