"""Real processes on a real disk are killed while orders arrive: nothing is lost or stored twice, the site recovers."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks.fault_injection import (
    BROKER,
    CHILD,
    EVERYTHING,
    GATEWAY,
    HANGING,
    PARENT,
    POSTGRES,
    REDIS,
    REDIS_DATA,
    Fault,
)
from benchmarks.fault_run import RECOVERY_LIMIT, FaultRun, fault_run
from tests.running import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SHORT = 3.0  # seconds
FAULTS = (
    Fault("a worker's child", (CHILD,)),
    Fault("the worker's parent", (PARENT,)),
    Fault("the gateway", (GATEWAY,)),
    Fault("the broker, and the gateway that filled the outbox", (BROKER,), SHORT, (GATEWAY,)),
    Fault("Postgres, and a child that waits for it", (POSTGRES,), SHORT, (CHILD,)),
    Fault("Redis emptied", (REDIS_DATA,)),
    *(Fault(part, (part,), SHORT) for part in HANGING),
    Fault("Redis, back on a snapshot", (REDIS,), SHORT),
    Fault("Postgres and the broker", (POSTGRES, BROKER), SHORT),
    Fault("all at once", EVERYTHING, SHORT),
)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultRun]:
    """A deployment that takes orders until the last test of this file."""
    mask = os.umask(0o077)  # the deployment sets a strict one for this whole process
    try:
        with fault_run(tmp_path_factory.mktemp("faults"), seed=7) as begun:
            yield begun
    finally:
        os.umask(mask)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_site_recovers_by_itself_after(tried: FaultRun, fault: Fault) -> None:
    sent = len(tried.acknowledged.ids)
    until(lambda: len(tried.acknowledged.ids) > sent + 200, "orders come in")
    if REDIS in fault.parts:
        tried.site.redis.save()
    found = tried.inject(fault)
    assert found.consuming < RECOVERY_LIMIT and found.caught_up < RECOVERY_LIMIT


def test_the_outbox_takes_orders_while_the_broker_is_away(tried: FaultRun) -> None:
    def waiting() -> int:
        with psycopg.connect(tried.site.postgres_url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM outbox").fetchone() or (0,)
            return int(count)

    tried.site.kill(BROKER)
    taken = len(tried.acknowledged.ids)
    until(lambda: waiting() > 0 and len(tried.acknowledged.ids) > taken, "the outbox takes orders")
    tried.site.restore(BROKER)
    until(lambda: waiting() == 0, "the outbox is empty")


def test_the_children_of_a_killed_worker_end_too(tried: FaultRun) -> None:
    left = tried.site.worker_children()
    tried.site.kill(PARENT)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "its children have ended", 15)


def test_no_event_was_lost_or_counted_twice(tried: FaultRun) -> None:
    verified = tried.finish()
    assert len(tried.acknowledged.ids) > 500
    assert (verified.lost, verified.twice) == (0, 0)
    assert (verified.counted_twice, verified.not_counted, verified.misspent) == (0, 0, 0)
    assert verified.dead == 0
