"""Real processes on a real disk, killed while orders arrive: nothing is lost or counted twice."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.breakable import BROKER, CHILD, DATA, EVERYTHING, GATEWAY, HANGING, PARENT, POSTGRES, REDIS, Fault
from benchmarks.trial import BAR_S, Trial, trial
from tests.running import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SHORT = 3.0  # seconds
FAULTS = (
    Fault("a worker's child", (CHILD,)),
    Fault("the worker's parent", (PARENT,)),
    Fault("the gateway", (GATEWAY,)),
    Fault("the broker, and the gateway that filled the outbox", (BROKER,), SHORT, (GATEWAY,)),
    Fault("Postgres, and a child that waits for it", (POSTGRES,), SHORT, (CHILD,)),
    Fault("Redis emptied", (DATA,)),
    *(Fault(part, (part,), SHORT) for part in HANGING),
    Fault("Redis, back on a snapshot", (REDIS,), SHORT),
    Fault("Postgres and the broker", (POSTGRES, BROKER), SHORT),
    Fault("all at once", EVERYTHING, SHORT),
)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A deployment that takes orders until the last test of this file."""
    mask = os.umask(0o077)  # the deployment sets a strict one for this whole process
    try:
        with trial(tmp_path_factory.mktemp("faults"), seed=7) as begun:
            yield begun
    finally:
        os.umask(mask)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_recovers_by_itself_after(tried: Trial, fault: Fault) -> None:
    sent = len(tried.ledger.ids)
    until(lambda: len(tried.ledger.ids) > sent + 200, "orders arrive")
    if REDIS in fault.parts:
        tried.site.redis.save()
    found = tried.suffer(fault)
    assert found.consuming < BAR_S and found.caught_up < BAR_S


def test_the_outbox_takes_orders_while_the_broker_is_away(tried: Trial) -> None:
    def envelopes() -> int:
        with psycopg.connect(tried.site.postgres_url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM outbox").fetchone() or (0,)
            return int(count)

    tried.site.strike(BROKER)
    taken = len(tried.ledger.ids)
    until(lambda: envelopes() > 0 and len(tried.ledger.ids) > taken, "the outbox takes orders")
    tried.site.mend(BROKER)
    until(lambda: envelopes() == 0, "the outbox is empty")


def test_the_children_of_a_killed_worker_end_with_it(tried: Trial) -> None:
    left = tried.site.children()
    tried.site.strike(PARENT)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "its children have ended", 15)


def test_no_order_was_lost_or_counted_twice(tried: Trial) -> None:
    verdict = tried.end()
    assert len(tried.ledger.ids) > 500
    assert (verdict.lost, verdict.twice) == (0, 0)
    assert (verdict.counted_twice, verdict.not_counted, verdict.misspent) == (0, 0, 0)
    assert verdict.dead == 0
