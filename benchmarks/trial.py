"""A site under orders, the faults it suffers, and how soon it goes on after each."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.breakable import Breakable, Fault, breakable
from benchmarks.ledger import Ledger, Sender
from benchmarks.proof import Verdict, Visitors, judge, still_under_way

TILLS = 4
BAR_S = 30.0  # seconds after which it must go on
PATIENCE = 120.0  # seconds until something that must happen has happened


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the return: until an event acknowledged after it was stored, and until all from before it were."""

    consuming: float
    caught_up: float


@dataclass
class Trial:
    """A site under orders, and the faults it suffers."""

    site: Breakable
    ledger: Ledger
    tills: list[Sender]
    visitors: Visitors
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    _caught_up: int = 0  # so many of the ledger are known to be stored

    def suffer(self, fault: Fault) -> Recovery:
        """Strike, wait out the outage, mend, and see how soon it goes on. Raises RuntimeError when it does not."""
        self.site.strike(*fault.parts)
        time.sleep(fault.away / 2)
        self.site.strike(*fault.amid)
        time.sleep(fault.away / 2)
        self.site.mend(*fault.parts)
        began, before = time.monotonic(), len(self.ledger.ids)
        self._until(lambda: self._stored(self.ledger.ids[before : before + 500]) > 0, f"events after {fault.name}")
        consuming = time.monotonic() - began
        self.catch_up(before, fault.name)
        self.recoveries[fault.name] = Recovery(consuming, time.monotonic() - began)
        return self.recoveries[fault.name]

    def catch_up(self, count: int, when: str) -> None:
        """Wait until the first `count` acknowledged events are stored. Raises RuntimeError when they are not."""
        waiting = self.ledger.ids[self._caught_up : count]
        self._until(lambda: self._stored(waiting) == len(waiting), f"everything from before {when}")
        self._caught_up = count

    def end(self) -> Verdict:
        """Stop and judge, when nothing is under way any more."""
        self.stop()
        urls = self.site.postgres_url, self.site.broker_url
        self._until(lambda: not still_under_way(*urls), "queue and outbox are empty")
        self._settle()
        return judge(*urls, self.site.client, self.ledger.ids)

    def stop(self) -> None:
        """Close the tills and show the visitors out."""
        for till in self.tills:
            till.stop()
        self.visitors.stop()

    def _settle(self) -> None:
        """What was delivered last is stored; what never will be is for the judge to count."""
        deadline = time.monotonic() + 15
        while self._stored(self.ledger.ids) < len(self.ledger.ids) and time.monotonic() < deadline:
            time.sleep(0.2)

    def _stored(self, ids: Sequence[str]) -> int:
        query = "SELECT count(DISTINCT id) FROM events WHERE source = %s AND id = ANY(%s)"
        with psycopg.connect(self.site.postgres_url) as connection:
            (count,) = connection.execute(query, [self.site.client.id, list(ids)]).fetchone() or (0,)
            return int(count)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            refused = [each for till in self.tills for each in till.refused]
            if refused or time.monotonic() > deadline:
                raise RuntimeError(f"after {PATIENCE:.0f} s still not so: {what} {refused[:3]}")
            time.sleep(0.05)


@contextmanager
def trial(folder: Path, seed: int) -> Iterator[Trial]:
    """A site that takes orders while the block runs."""
    with breakable(folder / "site") as site:
        ledger = Ledger(folder / "ledger")
        tills = [Sender(site.client, f"till{number}", ledger) for number in range(TILLS)]
        visitors = Visitors(site.client, [person for till in tills for person in till.people], seed)
        begun = Trial(site, ledger, tills, visitors)
        for till in tills:
            till.start()
        visitors.start()
        try:
            yield begun
        finally:
            begun.stop()
            ledger.close()
