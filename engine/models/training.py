"""One training, from the leased job to the decision about its model: for the trainer and for `penchant train`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from core import clock
from core.settings import Stores
from db.cache import connect_redis
from db.identities import users_of_guests
from db.items import last_categories
from db.jobs import AFFINITY, Job, lease_job
from db.lake.location import Lake
from db.lake.purchases import purchase_log_with_lake
from db.postgres import Pool, connect_pool
from db.purchases import PurchaseLog, purchase_log
from db.serving import Model
from engine.models import leases
from engine.models.learnable import check_learnable
from engine.models.leases import HeldJob, hold
from engine.models.promoting import decide_by_gate
from ml.bundle import Bundle
from ml.evaluation import Evaluation
from ml.gate import Verdict, verdict
from ml.log import Log
from ml.trainers import ReportProgress, Trained, trainer_for

log = structlog.get_logger()

Cut = Callable[[Log], tuple[Log, int | None]]  # the log to learn from, and the second at which the test span begins


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A bundle that was written, with its evaluation and the verdict of the gate."""

    path: Path
    evaluation: Evaluation
    verdict: Verdict
    warning: str | None = None  # what is odd about the purchases


def last_weeks(log: Log) -> tuple[Log, int | None]:
    """The whole log; its last weeks are the test span."""
    return log, None


async def train_waiting(stores: Stores, kind: str = AFFINITY, lake: str | None = None) -> TrainingOutcome | None:
    """Carry out the oldest training that waits or whose lease has ended; None when there is none."""
    async with await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool:
        job = await lease_job(pool, kind, leases.LEASE)
        if job is None:
            log.info("no_training_waits", kind=kind)
            return None
        log.info("training_began", job=job.id, attempt=job.fencing_token, reason=job.reason)
        outcome = await train(pool, stores, job, _logged, lake=lake)
        if outcome.warning:
            log.warning("few_purchases_name_known_items", job=job.id, detail=outcome.warning)
        log.info("training_ended", job=job.id, bundle=outcome.path.name, promoted=outcome.verdict.promote)
        return outcome


async def train(
    pool: Pool,
    stores: Stores,
    job: Job,
    report: ReportProgress,
    *,
    cut: Cut = last_weeks,
    folder: Path | None = None,
    decided_by: str = "trainer",
    lake: str | None = None,
) -> TrainingOutcome:
    """Read the purchases, train, write one bundle; promote or refuse it in the transaction that ends the job.

    Purchases come from Postgres; with the address of a lake, the days in the lake come from there.

    Raises LeaseLost when another worker has taken the job: nothing is registered or served in that case. Raises the
    errors of the training; the job then has failed with the reason.
    """
    async with hold(pool, job) as held:
        trained, warning = await _learn(pool, job.kind, cut, report, held, lake)
        path = await asyncio.to_thread(trained.write, (folder or stores.bundles).resolve(), clock.now())
        held.check()
        judged = await _decide(pool, stores, job, path, trained, decided_by)
    return TrainingOutcome(path, trained.evaluation, judged, warning)


async def _learn(
    pool: Pool, kind: str, cut: Cut, report: ReportProgress, held: HeldJob, lake: str | None
) -> tuple[Trained, str | None]:
    """Train in a thread, so that the lease is renewed meanwhile; and what is odd about the purchases."""
    report("reading the purchases", 0, 1)
    stored = await _purchases(pool, lake)
    warning = await check_learnable(pool, stored)
    bought, second = cut(as_log(stored, await last_categories(pool)))
    report("reading the purchases", 1, 1)

    def report_held(stage: str, done: int, of: int) -> None:
        held.check()
        report(stage, done, of)

    def learn() -> Trained:
        return trainer_for(kind)(bought, second, report_held)  # imports TensorFlow, so only inside a training

    return await asyncio.to_thread(learn), warning


async def _purchases(pool: Pool, lake: str | None) -> PurchaseLog:
    if lake is None:
        return await purchase_log(pool, clock.now())
    return await purchase_log_with_lake(pool, Lake.at(lake), clock.now(), joined=await users_of_guests(pool))


async def _decide(pool: Pool, stores: Stores, job: Job, path: Path, trained: Trained, decided_by: str) -> Verdict:
    """Open the written bundle, register it in MLflow, and let the gate decide."""
    written = Bundle.open(path)
    registry, version = await asyncio.to_thread(_registered, stores, written, path)
    judged = verdict(trained.evaluation)
    evaluation = written.json("evaluation")
    evidence = {"ahead": evaluation["ahead"], "parity": trained.parity, "job": job.id}
    model = Model(written.id, job.kind, written.created_at, written.digest, evaluation, version)
    async with connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout) as redis:
        await decide_by_gate(pool, redis, job, model, judged, evidence, decided_by)
    if registry and version and judged.promote:
        await asyncio.to_thread(_set_champion, registry, version)
    return judged


def _registered(stores: Stores, written: Bundle, path: Path) -> tuple[Any, str | None]:
    """MLflow's client and the new version, where MLflow is configured. While it is away there is no version."""
    if stores.mlflow_url is None:
        return None, None
    from engine.models.registry import Registry

    try:
        registry = Registry(stores.mlflow_url.get_secret_value())
        return registry, registry.register(written.id, path, written.json("evaluation"))
    except Exception as error:  # of MLflow, its database driver or the network
        log.warning("registry_unavailable", error=type(error).__name__)
        return None, None


def _set_champion(registry: Any, version: str) -> None:
    try:
        registry.set_champion(version)
    except Exception as error:
        log.warning("registry_unavailable", error=type(error).__name__)


def as_log(stored: PurchaseLog, categories: Mapping[int, str]) -> Log:
    """The stored purchases as the log that training reads; `categories` by item number."""
    codes: dict[str, int] = {}
    of = [categories.get(number) for number in stored.item_numbers.tolist()]
    return Log.of(
        people=stored.people,
        person=stored.person,
        item=stored.item.astype(np.uint32),
        occurred=stored.occurred,
        cents=stored.cents,
        order=stored.order,
        numbers=stored.item_numbers.astype(np.uint32),
        item_ids=stored.item_ids,
        category=np.array([-1 if name is None else codes.setdefault(name, len(codes)) for name in of], np.int32),
    )


def _logged(stage: str, done: int, of: int) -> None:
    if done in (0, of):
        log.info("training_stage", stage=stage, done=done, of=of)
