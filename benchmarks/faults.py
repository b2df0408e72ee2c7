"""Every part killed in turn, and all at once, while events come in: what is lost or twice, and how soon it goes on.

The stores, the gateway and the worker are real processes on this machine's disk, fsync on. Tills send orders over HTTP,
20 events a call with ids of their own, again and again until all are acknowledged, and write each acknowledged id down
before they go on; visitors ask for their states all the while. Each fault is a kill -9. Services are begun again by a
supervisor, servers after an outage on the data they left; nobody helps otherwise.
"""

import tempfile
import time
from pathlib import Path

import typer

from benchmarks.breakable import BROKER, CHILD, DATA, EVERYTHING, GATEWAY, HANGING, PARENT, POSTGRES, REDIS, Fault
from benchmarks.figures import Figure
from benchmarks.proof import Verdict
from benchmarks.trial import BAR_S, Trial, trial

MINUTES = 4.5
CALM = 3.0  # seconds before each fault
ENOUGH = 10_000  # acknowledged events
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
