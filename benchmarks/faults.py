"""Every part killed in turn, and all at once, while events come in: what is lost or twice, and how soon it goes on.

The stores, the gateway and the worker are real processes on this machine's disk, fsync on. Tills send orders over HTTP,
20 events a call with ids of their own, again and again until all are acknowledged, and write each acknowledged id down
before they go on; visitors ask for their states all the while. Each fault is a kill -9. Services are begun again by a
supervisor, servers after an outage on the data they left; nobody helps otherwise.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import typer

from benchmarks.breakable import (
    BROKER,
    CHILD,
    DATA,
    EVERYTHING,
    GATEWAY,
    HANGING,
    PARENT,
    POSTGRES,
    REDIS,
    Breakable,
    Fault,
    breakable,
)
from benchmarks.figures import Figure
from benchmarks.ledger import Ledger, Sender
from benchmarks.proof import Verdict, Visitors, judge, still_under_way

MINUTES = 5.0
TILLS = 4
CALM = 3.0  # seconds before each fault
BAR_S = 30.0
ENOUGH = 10_000  # acknowledged events
PATIENCE = 120.0  # seconds until something that must happen has happened
FAULTS = (
    *(Fault(f"{part}, {time} time", (part,)) for time in ("first", "second") for part in (CHILD, PARENT, GATEWAY)),
    Fault("Redis emptied", (DATA,)),
    Fault("the broker, 10 s", (BROKER,), 10),
    Fault("the broker, 10 s, amid that the gateway", (BROKER,), 10, (GATEWAY,)),
    Fault("Postgres, 20 s", (POSTGRES,), 20),
    Fault("Postgres, 10 s, amid that a worker's child", (POSTGRES,), 10, (CHILD,)),
    Fault("Postgres and the broker, 10 s", (POSTGRES, BROKER), 10),
    *(Fault(f"{part}, 10 s", (part,), 10) for part in HANGING),
    Fault("Redis, 20 s", (REDIS,), 20),
    Fault("all at once, 10 s", EVERYTHING, 10),
)


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
        with psycopg.connect(self.site.postgres_url) as connection:
            found = connection.execute("SELECT count(DISTINCT id) FROM events WHERE id = ANY(%s)", [list(ids)])
            return int((found.fetchone() or (0,))[0])

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


def run(seed: int) -> dict[str, Figure]:
    """Suffer every fault, then judge."""
    with tempfile.TemporaryDirectory(prefix="penchant-faults-") as folder, trial(Path(folder), seed) as tried:
        for fault in FAULTS:
            time.sleep(CALM)
            found = tried.suffer(fault)
            typer.echo(f"{fault.name}: goes on after {found.consuming:.1f} s, all stored after {found.caught_up:.1f} s")
        while len(tried.ledger.ids) < ENOUGH:
            time.sleep(CALM)
        verdict = tried.end()
        return _figures(tried, verdict)


def _figures(tried: Trial, verdict: Verdict) -> dict[str, Figure]:
    consuming = [each.consuming for each in tried.recoveries.values()]
    caught_up = [each.caught_up for each in tried.recoveries.values()]
    return {
        "faults_injected": Figure(len(tried.recoveries), "faults"),
        "acknowledged": Figure(len(tried.ledger.ids), "events", reference=f"at least {ENOUGH:,}"),
        "lost": Figure(verdict.lost, "events", reference="acknowledged and not stored: 0"),
        "twice": Figure(verdict.twice + verdict.counted_twice, "events", reference="stored or counted twice: 0"),
        "not_counted": Figure(verdict.not_counted, "events", reference="stored and not in the person's state: 0"),
        "misspent": Figure(verdict.misspent, "people", reference="whose state has spent another sum: 0"),
        "dead_letters": Figure(verdict.dead, "messages", reference="0"),
        "recovery_s": Figure(
            max(consuming), "s", min(consuming), max(consuming), f"worst of all faults; bar {BAR_S:g}"
        ),
        "caught_up_s": Figure(max(caught_up), "s", min(caught_up), max(caught_up), "all from before the return stored"),
    }
