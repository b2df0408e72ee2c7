"""A site that receives orders, the faults injected into it, and the recovery after each."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.fault_injection import BreakableSite, Fault, breakable_site
from benchmarks.order_senders import AcknowledgedIds, OrderSender
from benchmarks.verification import Verification, Visitors, undelivered, verify
from core.sources import client_source

SENDERS = 4
RECOVERY_LIMIT = 30.0  # seconds in which the site must recover
STEP_TIMEOUT = 120.0  # seconds for anything that is waited for
SETTLE_TIMEOUT = 15.0  # seconds for the last batch to be stored


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds after the restart until an event acknowledged after it was stored, and until all older ones were."""

    consuming: float
    caught_up: float


@dataclass
class FaultRun:
    """A site that receives orders, and the recoveries so far by the fault's name."""

    site: BreakableSite
    acknowledged: AcknowledgedIds
    senders: list[OrderSender]
    visitors: Visitors
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    _caught_up: int = 0  # that many of the acknowledged ids are known to be stored

    def inject(self, fault: Fault) -> Recovery:
        """Kill, wait for the outage to pass, restore, and time the recovery. Raises RuntimeError when it times out."""
        self.site.kill(*fault.parts)
        time.sleep(fault.outage / 2)
        self.site.kill(*fault.during)
        time.sleep(fault.outage / 2)
        self.site.restore(*fault.parts)
        began, before = time.monotonic(), len(self.acknowledged.ids)
        self._until(
            lambda: self._stored(self.acknowledged.ids[before : before + 500]) > 0,
            f"an event acknowledged after {fault.name} is stored",
        )
        consuming = time.monotonic() - began
        self.catch_up(before, fault.name)
        self.recoveries[fault.name] = Recovery(consuming, time.monotonic() - began)
        return self.recoveries[fault.name]

    def catch_up(self, count: int, fault: str) -> None:
        """Wait until the first `count` acknowledged events are stored. Raises RuntimeError when it times out."""
        waiting = self.acknowledged.ids[self._caught_up : count]
        try:
            self._until(
                lambda: self._stored(waiting) == len(waiting), f"all events acknowledged before {fault} are stored"
            )
        except RuntimeError as error:
            missing = len(waiting) - self._stored(waiting)
            left = undelivered(self.site.postgres_url, self.site.broker_url)
            raise RuntimeError(f"{error}: {missing} of {len(waiting)} are not; queue and outbox have {left}") from None
        self._caught_up = count

    def finish(self) -> Verification:
        """Stop the senders, wait until queue and outbox are empty, and verify."""
        self.stop()
        urls = self.site.postgres_url, self.site.broker_url
        self._until(lambda: not undelivered(*urls), "queue and outbox are empty")
        self._settle()
        return verify(*urls, self.site.client, self.acknowledged.ids)

    def stop(self) -> None:
        """Stop the senders and the visitors."""
        for sender in self.senders:
            sender.stop()
        self.visitors.stop()

    def _settle(self) -> None:
        """Wait for the last batch to be stored; what is still missing then is counted as lost."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while self._stored(self.acknowledged.ids) < len(self.acknowledged.ids) and time.monotonic() < deadline:
            time.sleep(0.2)

    def _stored(self, ids: Sequence[str]) -> int:
        query = "SELECT count(DISTINCT id) FROM events WHERE source = %s AND id = ANY(%s)"
        with psycopg.connect(self.site.postgres_url) as connection:
            (count,) = connection.execute(query, [client_source(self.site.client.id), list(ids)]).fetchone() or (0,)
            return int(count)

    def _until(self, holds: Callable[[], bool], condition: str) -> None:
        deadline = time.monotonic() + STEP_TIMEOUT
        while not holds():
            if refused := [answer for sender in self.senders for answer in sender.refused]:
                raise RuntimeError(f"The gateway refused events: {refused[:3]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Timed out after {STEP_TIMEOUT:.0f} s, waiting until {condition}")
            time.sleep(0.05)


@contextmanager
def fault_run(folder: Path, seed: int) -> Iterator[FaultRun]:
    """A site that receives orders while the block runs."""
    with breakable_site(folder / "site") as site:
        acknowledged = AcknowledgedIds(folder / "acknowledged")
        senders = [OrderSender(site.client, f"sender{number}", acknowledged) for number in range(SENDERS)]
        visitors = Visitors(site.client, [person for sender in senders for person in sender.people], seed)
        run = FaultRun(site, acknowledged, senders, visitors)
        for sender in senders:
            sender.start()
        visitors.start()
        try:
            yield run
        finally:
            run.stop()
            acknowledged.close()
