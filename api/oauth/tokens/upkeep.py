"""What the authorization server does beside requests.

It writes what clients did, replaces an old signing key, and deletes what no gateway reads any more.
"""

import asyncio
from datetime import timedelta
from time import monotonic

import structlog

from api.oauth.clients.activity import ClientActivity
from api.oauth.tokens.signing_keys import SIGNS_AFTER, SigningKeys
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.oauth_changes import delete_old_changes
from db.postgres import Connection
from db.signing_keys import KeysRefused

log = structlog.get_logger()

WRITE_EVERY = 5.0  # seconds
KEYS_EVERY = 3600.0  # seconds between two looks at the age of the signing key
DELETE_EVERY = 60.0  # seconds between two deletions of changes that every gateway has read


class Upkeep:
    """Runs until it is cancelled. `key_age`: how old the signing key may get; None: as old as it wants."""

    def __init__(
        self, pool: Connection, keys: SigningKeys, activity: ClientActivity, key_age: timedelta | None
    ) -> None:
        self._pool, self._keys, self._activity, self._key_age = pool, keys, activity, key_age

    async def run(self) -> None:
        """Repeat all."""
        looked_at_keys = deleted = float("-inf")
        while True:
            try:
                if monotonic() - looked_at_keys >= KEYS_EVERY:
                    looked_at_keys = monotonic()
                    await self.replace_old_key()
                if monotonic() - deleted >= DELETE_EVERY:
                    deleted = monotonic()
                    await self._delete_old_changes()
                await self._activity.write(self._pool)
            except Exception:  # requests do not depend on it; the next turn tries again
                log.exception("upkeep_failed")
            await asyncio.sleep(WRITE_EVERY)

    async def replace_old_key(self) -> None:
        """Make a signing key when the newest is too old. Of processes that do so at once, one makes it."""
        if self._key_age is None:
            return
        try:
            if kid := await self._keys.rotate(self._pool, SIGNS_AFTER, older_than=self._key_age):
                log.info("signing_key_rotated", kid=kid)
        except StoreUnavailable as error:
            log_unavailable(error, doing="replace an old signing key")
        except KeysRefused as error:
            log.warning("signing_key_not_rotated", reason=str(error))

    async def _delete_old_changes(self) -> None:
        try:
            await delete_old_changes(self._pool)
        except StoreUnavailable as error:
            log_unavailable(error, doing="delete old changes")
