"""Limits on guessing a client's secret, in this process.

Failures are counted for a client id and an address together. Counted for the client alone, a guesser could lock it
out; counted for the address alone, one wrong program could lock out a whole shop behind one address: that bound is
much higher, and a client that is familiar at the address passes it.
"""

from collections.abc import Hashable
from math import ceil
from time import monotonic

from core.errors import PenchantError

WINDOW = 60.0  # seconds, from a first failure on
MAX_FAILURES = 10  # of one client id from one address, in a window
MAX_FAILURES_OF_ADDRESS = 300  # of one address, whatever the client ids
MAX_COUNTED = 20_000  # entries of a table: more than the argon2 runs of a window, so no flood of guesses evicts its own
FAMILIAR_FOR = 3600.0  # seconds a client counts as familiar at an address


class TooManyGuesses(PenchantError):
    """Too many failed attempts: try again later. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many failed attempts. Try again in {retry_after} s.")
        self.retry_after = retry_after


class FailureCounts:
    """Failures by key, in windows of `WINDOW` seconds that begin with the first one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[Hashable, tuple[float, int]] = {}  # when the window began, and the failures in it

    def seconds_left(self, key: Hashable) -> float:
        """Seconds until the window of a key with too many failures ends; 0 for any other key."""
        began, count = self._current(key)
        return began + WINDOW - monotonic() if count >= self._most else 0.0

    def add(self, key: Hashable, failures: int) -> None:
        """Count failures; a negative number takes them back."""
        began, count = self._current(key)
        if count + failures <= 0:
            self._counts.pop(key, None)
            return
        if key not in self._counts:
            self._make_room()
        self._counts[key] = (began, count + failures)

    def _current(self, key: Hashable) -> tuple[float, int]:
        now = monotonic()
        began, count = self._counts.get(key, (now, 0))
        if now - began < WINDOW:
            return began, count
        del self._counts[key]  # so that the table stays in the order in which windows begin
        return now, 0

    def _make_room(self) -> None:
        while self._counts:
            oldest = next(iter(self._counts))
            if len(self._counts) < MAX_COUNTED and monotonic() - self._counts[oldest][0] < WINDOW:
                return
            del self._counts[oldest]


class Guesses:
    """Who may still try a secret, and which clients are familiar at which address."""

    def __init__(self) -> None:
        self._pairs = FailureCounts(MAX_FAILURES)
        self._addresses = FailureCounts(MAX_FAILURES_OF_ADDRESS)
        self._familiar: dict[tuple[str, str], float] = {}

    def begin(self, client_id: str, caller: str) -> None:
        """Count an attempt as failed until `end` takes it back. Raises TooManyGuesses."""
        self.check(client_id, caller)
        self.add_failure(client_id, caller)

    def check(self, client_id: str, caller: str) -> None:
        """Raise TooManyGuesses when there were too many failures."""
        left = self._pairs.seconds_left((client_id, caller))
        if not self.is_familiar(client_id, caller):
            left = max(left, self._addresses.seconds_left(caller))
        if left > 0:
            raise TooManyGuesses(ceil(left))

    def end(self, client_id: str, caller: str) -> None:
        """Take an attempt back that did not fail."""
        self._count(client_id, caller, -1)

    def add_failure(self, client_id: str, caller: str) -> None:
        """Count a failed attempt."""
        self._count(client_id, caller, 1)

    def set_familiar(self, client_id: str, caller: str) -> None:
        """Note that this client authenticated from this address."""
        self._familiar.pop((client_id, caller), None)
        if len(self._familiar) >= MAX_COUNTED:
            del self._familiar[next(iter(self._familiar))]
        self._familiar[client_id, caller] = monotonic()

    def is_familiar(self, client_id: str, caller: str) -> bool:
        """Whether this client authenticated from this address in the last hour."""
        return monotonic() - self._familiar.get((client_id, caller), float("-inf")) < FAMILIAR_FOR

    def _count(self, client_id: str, caller: str, failures: int) -> None:
        self._pairs.add((client_id, caller), failures)
        self._addresses.add(caller, failures)
