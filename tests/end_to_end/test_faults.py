"""Real processes on a real disk, killed while orders come in: nothing is lost or twice, it goes on by itself."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.breakable import BROKER, CHILD, DATA, EVERYTHING, GATEWAY, HANGING, PARENT, POSTGRES, REDIS, Fault
from benchmarks.trial import BAR_S, Trial, trial

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
    """A site of its own that takes orders until its last test has judged it."""
    mask = os.umask(0o077)  # the site is strict with everything this process makes from then on
    try:
        with trial(tmp_path_factory.mktemp("faults"), seed=7) as begun:
            yield begun
    finally:
        os.umask(mask)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_goes_on_by_itself_after(tried: Trial, fault: Fault, eventually: Callable[..., Any]) -> None:
    sent = len(tried.ledger.ids)
    eventually(lambda: len(tried.ledger.ids) > sent + 200, "orders come in")
    if REDIS in fault.parts:
        tried.site.redis.save()
    found = tried.suffer(fault)
    assert found.consuming < BAR_S and found.caught_up < BAR_S


def test_while_the_broker_is_away_orders_are_taken_by_the_outbox(tried: Trial, eventually: Callable[..., Any]) -> None:
    def parcels() -> int:
        with psycopg.connect(tried.site.postgres_url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM outbox").fetchone() or (0,)
            return int(count)

    tried.site.strike(BROKER)
    taken = len(tried.ledger.ids)
    eventually(lambda: parcels() > 0 and len(tried.ledger.ids) > taken, "the outbox takes orders")
    tried.site.mend(BROKER)
    eventually(lambda: parcels() == 0, "the outbox is empty")


def test_children_of_a_killed_worker_end_with_it(tried: Trial, eventually: Callable[..., Any]) -> None:
    left = tried.site.children()
    tried.site.strike(PARENT)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "its children have ended", 15)


def test_nothing_was_lost_and_nothing_counted_twice(tried: Trial) -> None:
    verdict = tried.end()
    assert len(tried.ledger.ids) > 500
    assert (verdict.lost, verdict.twice) == (0, 0)
    assert (verdict.counted_twice, verdict.not_counted, verdict.misspent) == (0, 0, 0)
    assert verdict.dead == 0
