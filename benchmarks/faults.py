"""Every part killed in turn, then all at once, while events arrive: events lost or stored twice, time to recover.

The stores, the gateway and the worker are real processes on this machine's disk, fsync on. Senders post orders over
HTTP, 20 events a call with ids of their own. They repeat a call until all its events are acknowledged, and write each
acknowledged id to a file before they go on. Visitors ask for people's states all the time. Each fault is a kill -9, or
a stopped process where its name says "hangs". A supervisor restarts services; the benchmark restarts servers after the
outage, on the data they left. Nothing else helps the site to recover.
"""

import tempfile
import time
from pathlib import Path

import typer

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
from benchmarks.figures import Figure
from benchmarks.verification import Verification

MINUTES = 4.5
QUIET_TIME = 3.0  # seconds before each fault
ENOUGH = 10_000  # acknowledged events
FAULTS = (
    *(Fault(f"{part}, {time} time", (part,)) for time in ("first", "second") for part in (CHILD, PARENT, GATEWAY)),
    Fault("Redis emptied", (REDIS_DATA,)),
    Fault("the broker, 10 s", (BROKER,), 10),
    Fault("the broker, 10 s, and the gateway during it", (BROKER,), 10, (GATEWAY,)),
    Fault("Postgres, 20 s", (POSTGRES,), 20),
    Fault("Postgres, 10 s, and a worker's child during it", (POSTGRES,), 10, (CHILD,)),
    Fault("Postgres and the broker, 10 s", (POSTGRES, BROKER), 10),
    *(Fault(f"{part}, 10 s", (part,), 10) for part in HANGING),
    Fault("Redis, 20 s", (REDIS,), 20),
    Fault("all at once, 10 s", EVERYTHING, 10),
)


def run(seed: int) -> dict[str, Figure]:
    """Inject every fault, then verify."""
    with tempfile.TemporaryDirectory(prefix="penchant-faults-") as folder, fault_run(Path(folder), seed) as tested:
        for fault in FAULTS:
            time.sleep(QUIET_TIME)
            found = tested.inject(fault)
            typer.echo(f"{fault.name}: recovered in {found.consuming:.1f} s, all stored in {found.caught_up:.1f} s")
        while len(tested.acknowledged.ids) < ENOUGH:
            time.sleep(QUIET_TIME)
        verified = tested.finish()
        return _figures(tested, verified)


def _figures(tested: FaultRun, verified: Verification) -> dict[str, Figure]:
    consuming = [each.consuming for each in tested.recoveries.values()]
    caught_up = [each.caught_up for each in tested.recoveries.values()]
    reference = f"worst of all faults, until a new event was stored; limit {RECOVERY_LIMIT:g}"
    twice = verified.twice + verified.counted_twice
    return {
        "faults_injected": Figure(len(tested.recoveries), "faults"),
        "acknowledged": Figure(len(tested.acknowledged.ids), "events", reference=f"at least {ENOUGH:,}"),
        "lost": Figure(verified.lost, "events", reference="acknowledged and not stored: 0"),
        "twice": Figure(twice, "events", reference="stored or counted twice: 0"),
        "not_counted": Figure(verified.not_counted, "events", reference="stored and not in the person's state: 0"),
        "misspent": Figure(verified.misspent, "people", reference="whose state has another sum: 0"),
        "dead_letters": Figure(verified.dead, "messages", reference="0"),
        "recovery_s": Figure(max(consuming), "s", min(consuming), max(consuming), reference),
        "caught_up_s": Figure(
            max(caught_up), "s", min(caught_up), max(caught_up), "until all earlier events were stored"
        ),
    }
