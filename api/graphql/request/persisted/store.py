"""What a gateway process knows of persisted documents: the texts asked for lately, and which clients may send texts."""

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from redis.asyncio import Redis

from api.http.refresher import NEVER, Refresher
from core.bulkhead import Bulkhead, CallerBulkheads
from core.errors import RateLimited, StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable
from db.automatic_documents import keep_automatic, read_automatic
from db.documents import DocumentSettings, find_document, is_digest, list_document_settings
from db.postgres import Connection
from engine.viewer import Viewer

POLL: Final = 3.0  # seconds between reads of what changed
MAX_KEPT: Final = 4_000_000  # characters of trusted texts; as many of automatic ones
MAX_UNKNOWN: Final = 10_000  # ids that are known to name nothing
CALLER_PLACES, CALLER_WAITING, CALLER_PATIENCE = 2, 64, 1.0  # reads of one caller; seconds
_OWN_CHARACTERS: Final = 200  # an entry costs as much as these, besides its text
_NONE: Final = DocumentSettings(required=False, version=0)


class Persisted(NamedTuple):
    """The text of a persisted document. `id` is its SHA-256; `trusted`: it was pushed, and not sent by a caller."""

    text: str
    id: str
    trusted: bool


class _Wanted(NamedTuple):
    """What is read once for all who wait for it. Another version of the client's documents is another read.

    So is a client of the same name that was created later.
    """

    client_id: str
    id: str
    version: int
    since: datetime | None


class ClientDocuments:
    """Finds persisted documents by client and id. A change of trusted ones counts within three seconds.

    While Postgres is away, what was read before stands. While Redis is away, automatic documents are those of this
    process.
    """

    def __init__(self, pool: Connection, redis: Redis, *, poll: float = POLL) -> None:
        self._pool, self._redis = pool, redis
        self._settings: dict[str, DocumentSettings] = {}
        self._trusted, self._automatic = _Texts(MAX_KEPT), _Texts(MAX_KEPT)
        self._unknown: OrderedDict[_Wanted, None] = OrderedDict()
        self._reading = SingleFlight(self._read)
        self._refresher = Refresher("documents of clients", self._read_settings, every=poll)
        self._callers = CallerBulkheads(
            partial(Bulkhead, CALLER_PLACES, waiting=CALLER_WAITING, patience=CALLER_PATIENCE, refuse=RateLimited)
        )
        self._keepers = CallerBulkheads(
            partial(Bulkhead, CALLER_PLACES, waiting=0, patience=CALLER_PATIENCE, refuse=RateLimited)
        )

    async def load(self) -> None:
        """Read what clients may send before the first of them asks, if Postgres answers."""
        await self._refresher.refresh()

    def takes_texts(self, client_id: str) -> bool:
        """Whether the client may send texts, by what was read lately; False when that has to be asked."""
        return self._refresher.is_fresh() and not self._settings.get(client_id, _NONE).required

    async def required(self, client_id: str) -> bool:
        """Whether the client may send no texts. Raises StoreUnavailable while that has never been read."""
        return (await self._settings_of(client_id)).required

    async def find(self, viewer: Viewer, id: str) -> Persisted | None:
        """The document that the viewer's client knows by this id. Raises StoreUnavailable and RateLimited."""
        settings = await self._settings_of(viewer.client_id)
        automatic = is_digest(id) and not settings.required
        try:
            found = await self._find_trusted(viewer, id, settings)
        except StoreUnavailable:
            if automatic and (found := await self._find_automatic(viewer, id)) is not None:
                return found
            raise
        return await self._find_automatic(viewer, id) if found is None and automatic else found

    async def keep(self, viewer: Viewer, text: str, digest: str) -> None:
        """Let the viewer's client use this valid text by its SHA-256, in all gateways for a day if Redis takes it.

        Where Redis is too slow for it, only this process knows the text: nobody is refused for that.
        """
        key = (viewer.client_id, digest)
        if self._automatic.find(key) is not None:
            return
        self._automatic.keep(key, Persisted(text, digest, trusted=False))
        try:
            async with self._keepers.of(viewer.caller).place():
                await keep_automatic(self._redis, viewer.client_id, digest, text)
        except StoreUnavailable as error:
            log_unavailable(error, doing="keep an automatic document")
        except RateLimited:
            return

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await self._refresher.close()

    async def _settings_of(self, client_id: str) -> DocumentSettings:
        await self._refresher.refresh()
        if self._refresher.read_at == NEVER:
            raise StoreUnavailable("postgres", "The settings of clients were never read.")
        return self._settings.get(client_id, _NONE)

    async def _find_trusted(self, viewer: Viewer, id: str, settings: DocumentSettings) -> Persisted | None:
        if not settings.version:
            return None
        wanted = _Wanted(viewer.client_id, id, settings.version, settings.since)
        found = self._trusted.find(wanted)
        if found is not None or wanted in self._unknown:
            return found
        async with self._callers.of(viewer.caller).place():
            return await self._reading.result(wanted)

    async def _find_automatic(self, viewer: Viewer, id: str) -> Persisted | None:
        key = (viewer.client_id, id)
        found = self._automatic.find(key)
        if found is not None:
            return found
        try:
            async with self._callers.of(viewer.caller).place():
                text = await read_automatic(self._redis, viewer.client_id, id)
        except StoreUnavailable as error:
            log_unavailable(error, doing="read an automatic document")
            return None
        except RateLimited:  # then it sends the text
            return None
        return None if text is None else self._automatic.keep(key, Persisted(text, id, trusted=False))

    async def _read(self, wanted: _Wanted) -> Persisted | None:
        document = await find_document(self._pool, wanted.client_id, wanted.id)
        if document is not None:
            return self._trusted.keep(wanted, Persisted(document.body, document.id, trusted=True))
        self._unknown[wanted] = None
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)
        return None

    async def _read_settings(self) -> None:
        self._settings = await list_document_settings(self._pool)


class _Texts:
    """Texts by key, bounded by their characters. The least recently used is dropped first."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Hashable, Persisted] = OrderedDict()

    def find(self, key: Hashable) -> Persisted | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Hashable, document: Persisted) -> Persisted:
        if key not in self._kept:
            self._kept[key] = document
            self._size += len(document.text) + _OWN_CHARACTERS
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped.text) + _OWN_CHARACTERS
        return document
