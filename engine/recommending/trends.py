"""What most people bought lately, in a few windows of time: counted by Postgres, kept, and counted again when old."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core import clock
from core.bulkhead import Bulkhead
from core.errors import InvalidInput, StoreUnavailable
from core.single_flight import SingleFlight
from db.postgres import Connection
from db.purchases import popular_items
from db.shares import Share, ShareFull
from ml.masks import Mask
from ml.ranked import Ranked, explain_as

WINDOWS: Final = (
    timedelta(hours=1),
    timedelta(hours=6),
    *(timedelta(days=days) for days in (1, 3, 7, 14, 30, 90, 180, 365)),
)
TRENDING: Final = timedelta(days=7)  # the window of lists of what is trending
MAX_POPULAR = 10_000  # items: enough for a full list behind a narrow filter
LEAST_AGE = 60.0  # seconds a count is used for; longer for windows of more than LONG
LONG = timedelta(days=30)
REST = 20  # times as long as a count took, no new one of its window begins
COUNT_TIMEOUT = 30.0  # seconds a count may take
COUNT_WAIT = 3.0  # seconds a caller waits for it; less than a request may take, so that its other fields are answered
MAX_PAUSE = 60.0  # seconds between two counts that fail
_NONE: Final = np.zeros(0, np.uint32)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Popular:
    """Items by the number of people who bought them recently, most bought first; seconds by the event loop's clock."""

    numbers: NDArray[np.uint32]
    people: NDArray[np.uint32]
    fresh_until: float  # then it is counted again, and answers meanwhile
    usable_until: float  # then callers wait for the new count


class Trends:
    """The counts of all windows. At most one count runs at a time, whoever asks."""

    def __init__(self, expensive: Connection, window: timedelta, *, empty_age: float) -> None:
        """`window` is one more window; `empty_age` is in seconds how long a count without any purchase is used."""
        self.expensive, self._window, self.empty_age = expensive, window, empty_age
        self._windows = sorted({*WINDOWS, window})
        self._followed = {window}  # counted before anybody asks
        self._kept: dict[timedelta, Popular] = {}
        self._paused: dict[timedelta, tuple[float, float]] = {}  # after a failure: how long, until when
        self._counting = asyncio.Lock()
        self._counts = SingleFlight(self._count)
        self._asked = SingleFlight(self._ask)

    @property
    def usual(self) -> Popular | None:
        """The last count of the one more window, however old."""
        return self._kept.get(self._window)

    @property
    def trending(self) -> NDArray[np.uint32]:
        """What most people bought within TRENDING, most first, as it was counted last; empty until it is followed."""
        found = self._kept.get(TRENDING) if TRENDING in self._followed else None
        return _NONE if found is None else found.numbers

    def follow_trending(self) -> None:
        """Count what is trending with each `refresh` from now on."""
        self._followed.add(TRENDING)

    def window_for(self, wanted: timedelta) -> timedelta:
        """The shortest window that is at least as long. Raises InvalidInput outside an hour to a year."""
        if not WINDOWS[0] <= wanted <= WINDOWS[-1]:
            raise InvalidInput("window must be between PT1H and P365D.", field="window")
        return next(window for window in self._windows if window >= wanted)

    async def refresh(self) -> None:
        """Count the usual window if its last count is old, and what is trending. Raises StoreUnavailable."""
        for window in sorted(self._followed, key=lambda window: window != self._window):
            if self._old(window):
                await self._counts.result(window)

    async def popular(self, window: timedelta, caller: Share) -> Popular:
        """The items most people bought within one of the windows. Only a caller whose share has a place waits for it.

        Raises StoreUnavailable while it cannot be counted, and what the caller's share refuses with.
        """
        kept = self._kept.get(window)
        if kept is not None and _now() < kept.usable_until:
            if self._old(window):
                self._counts.start(window)
            return kept
        if self._pause_of(window):
            raise StoreUnavailable("postgres", "The last count failed; the next one is due in a moment.")
        (found,) = await self._asked.result_while_wanted((caller.bulkhead, window)) or (None,)
        assert found is not None
        return found

    async def close(self) -> None:
        """Cancel what runs."""
        for task in (*self._asked.cancel(), *self._counts.cancel()):
            await asyncio.wait({task})

    async def _ask(self, asked: tuple[Bulkhead, timedelta]) -> Popular:
        """Wait for a count in one of the caller's places: however often a caller asks for a window, it takes one."""
        caller, window = asked
        async with caller.place():
            found = await self._counts.result_while_wanted(window, COUNT_WAIT)
        if found is None:
            raise StoreUnavailable("postgres", f"Counting takes longer than {COUNT_WAIT:g} seconds.")
        return found[0]

    async def _count(self, window: timedelta) -> Popular:
        async with self._counting:
            began = _now()
            try:
                since = clock.now() - window
                rows = await popular_items(self.expensive, since, MAX_POPULAR, timeout=COUNT_TIMEOUT)
            except ShareFull:
                raise
            except StoreUnavailable:
                pause = min(2 * self._paused.get(window, (0.5, 0))[0], MAX_PAUSE)
                self._paused[window] = pause, _now() + pause
                raise
        self._paused.pop(window, None)
        numbers, people = (np.array([row[at] for row in rows], np.uint32) for at in (1, 2))
        age = max(LEAST_AGE, LEAST_AGE * (window / LONG)) if rows else self.empty_age
        age = max(age, REST * (_now() - began))
        popular = self._kept[window] = Popular(numbers, people, began + age, began + 2 * age)
        return popular

    def _old(self, window: timedelta) -> bool:
        """Whether the window is to be counted: its count is old, and none has failed a moment ago."""
        kept = self._kept.get(window)
        return (kept is None or _now() >= kept.fresh_until) and not self._pause_of(window)

    def _pause_of(self, window: timedelta) -> bool:
        return _now() < self._paused.get(window, (0, 0))[1]


def _now() -> float:
    return asyncio.get_running_loop().time()


def most_bought(popular: Popular, allowed: Mask, first: int) -> Ranked:
    """The allowed ones of the items that most people bought, most first."""
    inside = popular.numbers < len(allowed)
    kept = np.flatnonzero(inside & allowed[np.where(inside, popular.numbers, 0)])[:first]
    people = popular.people[kept]
    return Ranked(
        popular.numbers[kept],
        (people / max(int(popular.people[0]), 1)).astype(np.float32) if len(kept) else np.zeros(0, np.float32),
        explain_as("TRENDING"),
    )
