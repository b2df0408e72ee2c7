"""When clients were used and why they were refused: noted in memory, written beside the requests."""

from collections import Counter
from time import monotonic

from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.client_audit import store_refusals, store_uses
from db.postgres import Connection

USES_EVERY = 60.0  # seconds between two writes of a client's last use
MAX_USED = 10_000  # clients noted between two writes
MAX_REFUSED = 2_000  # pairs of client id and reason; ids that are no client's are among them
LONGEST_REASON = 64


class ClientActivity:
    """What clients of this process did since the last `write`."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._written: dict[str, float] = {}  # by client: when its use was written last

    def note_use(self, client_id: str) -> None:
        """Note that a client sent a valid token or credentials."""
        if len(self._used) < MAX_USED:
            self._used.add(client_id)

    def note_refusal(self, client_id: str, reason: str) -> None:
        """Note that a request that named this client was refused; the reason is a code such as `invalid_client`."""
        pair = client_id, reason[:LONGEST_REASON]
        if len(self._refused) < MAX_REFUSED or pair in self._refused:
            self._refused[pair] += 1

    async def write(self, connection: Connection) -> None:
        """Store what was noted: of a client's uses one a minute at most. What cannot be stored is kept."""
        now = monotonic()
        self._written = {client: at for client, at in self._written.items() if now - at < USES_EVERY}
        used, refused = self._used - self._written.keys(), self._refused
        self._used, self._refused = self._used & self._written.keys(), Counter()
        try:
            if used:
                await store_uses(connection, sorted(used))
                self._written |= dict.fromkeys(used, now)
                used = set()
            if refused:
                await store_refusals(connection, refused)
                refused = Counter()
        except StoreUnavailable as error:
            log_unavailable(error, doing="note what clients did")
        finally:
            self._used |= used
            self._refused.update(refused)
