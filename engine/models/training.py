"""One training, from the leased job to the decision about its model: for the trainer and for `penchant train`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import structlog

from core import clock
from core.contract import EventType
from core.errors import PenchantError, StoreUnavailable
from core.evidence_settings import Evidence
from core.settings import Bundles, Stores
from core.stores import log_unavailable
from db.cache import connect_redis
from db.identities import users_of_guests
from db.items import last_categories
from db.jobs import AFFINITY, Job, LeaseLost
from db.lake.location import Lake
from db.lake.purchases import purchase_log_with_lake
from db.merged_users import owners_of_merged
from db.postgres import Pool, connect_pool
from db.purchases import PurchaseLog, purchase_log
from db.purchases import Signals as StoredSignals
from db.serving import Model, current_serving, registered, slot_of
from engine.jobs.bounds import Bounds
from engine.jobs.leases import UNBOUNDED, HeldJob, TrainingStopped, hold, lease_waiting, stopped_by_signals
from engine.jobs.threads import in_own_thread
from engine.models.kinds import KINDS, evidence_in
from engine.models.learnable import check_learnable
from engine.models.promoting import Baseline, decide_by_gate, trained_model_serves
from engine.models.pruning import prune_bundles
from engine.models.rivals import NONE, Rivals, open_rivals
from engine.models.texts import catalogue_words
from ml.bundle import Bundle, delete_bundle
from ml.gate import Verdict
from ml.interest import ASSUMED, Interest
from ml.log import Log, Signals
from ml.state import CODE, EVENT
from ml.trainers import ReportProgress, Trained, trainer_for
from ml.universe import HOUR
from ml.words import ItemWords

log = structlog.get_logger()


class Writable(Protocol):
    """What can be written as a bundle."""

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`; returns its path."""


Write = Callable[[Writable], Awaitable[Path]]
Cut = Callable[[Log], tuple[Log, int | None]]  # the log to learn from, and the second at which the test span begins


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A bundle that was written, with its evaluation and the verdict of the gate."""

    path: Path
    kind: str
    evaluation: Any  # of its kind
    verdict: Verdict
    warning: str | None = None  # what is odd about the purchases
    baseline: Path | None = None  # the bundle of the best baseline, if that serves in place of the refused model
    serving: str | None = None  # the id of what serves after the decision; None: nothing
    refreshed: str | None = None  # the bundle that serves in place of these, with tables as of now

    @property
    def serves(self) -> bool:
        """Whether the model, or a baseline in its place, serves from now on."""
        return self.verdict.promote or self.baseline is not None


class _StandIn(NamedTuple):
    """A written baseline that may serve in place of the refused model, and why."""

    path: Path
    reason: str


def last_weeks(log: Log) -> tuple[Log, int | None]:
    """The whole log; its last weeks are the test span."""
    return log, None


async def train_waiting(
    stores: Stores,
    kind: str = AFFINITY,
    lake: str | None = None,
    bundles: Bundles | None = None,
    *,
    bounds: Bounds = UNBOUNDED,
    stopping: Callable[[], bool] = lambda: False,
    assumed: Interest = ASSUMED,
) -> TrainingOutcome | None:
    """Carry out the oldest training that waits or whose lease has ended; None when there is none.

    Old bundles are deleted after it, if `bundles` says how many stay. At SIGTERM or Ctrl-C the job waits again, and
    this raises TrainingStopped; also if the trainer is `stopping` already, because its signal may have come before.
    """
    async with stopped_by_signals(), await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool:
        if stopping():
            raise TrainingStopped
        job = await lease_waiting(pool, kind)
        if job is None:
            log.info("no_training_waits", kind=kind)
            return None
        log.info("training_began", job=job.id, attempt=job.fencing_token, reason=job.reason)
        outcome = await train(pool, stores, job, _logged, lake=lake, bounds=bounds, assumed=assumed)
        if outcome.warning:
            log.warning("few_purchases_name_known_items", job=job.id, detail=outcome.warning)
        stands_in = outcome.baseline and outcome.baseline.name
        promoted = outcome.verdict.promote
        log.info("training_ended", job=job.id, bundle=outcome.path.name, promoted=promoted, baseline=stands_in)
        if bundles is not None:
            await _prune(pool, stores.bundles, bundles)
        return outcome


async def _prune(pool: Pool, folder: Path, bundles: Bundles) -> None:
    """Delete old bundles; when that fails, the periodic task or the next training does it."""
    try:
        await prune_bundles(pool, folder, bundles, clock.now())
    except StoreUnavailable as error:
        log_unavailable(error, doing="delete old bundles")
    except OSError as error:
        log.warning("bundles_not_deleted", error=type(error).__name__)


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
    bounds: Bounds = UNBOUNDED,
    assumed: Interest = ASSUMED,
) -> TrainingOutcome:
    """Read the purchases, train, write one bundle; promote or refuse it in the transaction that ends the job.

    Purchases come from Postgres; with the address of a lake, the days in the lake come from there. `assumed` is what
    views and the like say of what people buy, until the log has enough of them.

    Raises LeaseLost when the job was cancelled or another worker has taken it: nothing is registered or served in that
    case. Raises the errors of the training, BoundExceeded among them; the job then has failed with the reason.
    """
    async with hold(pool, job, bounds) as held:

        def report_held(stage: str, done: int, of: int) -> None:
            held.report(stage, done, of)
            report(stage, done, of)

        rivals = await open_rivals(pool, stores.bundles.resolve()) if job.kind == AFFINITY else NONE
        trained, warning = await _learn(pool, job.kind, cut, report_held, lake, rivals, assumed)
        judged = KINDS[job.kind].verdict(trained.evaluation, same_as=rivals.same_as(trained.training))
        pins = judged.promote and job.kind == AFFINITY and rivals.replaces_anchor(trained.evaluation)
        async with written_bundles(pool, held, (folder or stores.bundles).resolve()) as write:
            trained = trained.with_gate(judged.document())
            path = await write(trained)
            stands_in = None
            same = rivals.same_as(trained.training) is not None
            if not judged.promote and not same and not await trained_model_serves(pool, job.kind):
                stands_in = await _best_baseline(job.kind, trained, judged, write, report_held)
            held.check()
            serves = await _decide(pool, stores, job, path, judged, stands_in, decided_by, pins=pins)
    baseline = stands_in.path if stands_in and serves else None
    row = await current_serving(pool, slot_of(job.kind))
    serving = None if row is None else row.bundle
    return TrainingOutcome(path, job.kind, trained.evaluation, judged, warning, baseline, serving)


async def _learn(
    pool: Pool, kind: str, cut: Cut, report: ReportProgress, lake: str | None, rivals: Rivals, assumed: Interest
) -> tuple[Trained, str | None]:
    """Train in a thread, so that the lease is renewed meanwhile; and what is odd about the purchases."""
    report("reading the purchases", 0, 1)
    stored = await stored_purchases(pool, lake)
    warning = await check_learnable(pool, stored)
    bought, second = cut(as_log(stored, await last_categories(pool), await catalogue_words(pool), assumed))
    report("reading the purchases", 1, 1)

    def learn() -> Trained:
        train = trainer_for(kind)  # imports TensorFlow, so only inside a training
        return train(bought, second, report, rivals=rivals.compared())

    return await in_own_thread(learn), warning


@asynccontextmanager
async def written_bundles(pool: Pool, held: HeldJob, folder: Path) -> AsyncIterator[Write]:
    """Writes bundles below the folder in a thread. When the block fails, those that are not registered are deleted."""
    paths: list[Path] = []

    def write_held(trained: Writable) -> Path:
        path = trained.write(folder, clock.now())
        paths.append(path)
        if held.lost:  # the block has ended
            delete_bundle(path)
            raise LeaseLost
        return path

    try:
        yield lambda trained: asyncio.to_thread(write_held, trained)
    except BaseException:
        held.lost = True
        deleting = asyncio.create_task(_delete_unregistered(pool, paths))
        try:
            await asyncio.shield(deleting)
        except asyncio.CancelledError:  # the job may be found lost just now
            await deleting
            raise
        raise


async def _delete_unregistered(pool: Pool, paths: list[Path]) -> None:
    with suppress(PenchantError):
        kept = await registered(pool, [path.name for path in paths])
        for path in paths:
            if path.name not in kept:
                await asyncio.to_thread(delete_bundle, path)


async def _best_baseline(
    kind: str, trained: Trained, judged: Verdict, write: Write, report: ReportProgress
) -> _StandIn | None:
    """The bundle of the best baseline of the evaluation, and why it serves; None where no baseline may."""
    baseline = await in_own_thread(lambda: trained.best_baseline(report))
    if baseline is None:
        return None
    reason = KINDS[kind].why_baseline(baseline.evaluation, judged.reason)
    return _StandIn(await write(baseline.with_gate(Verdict(True, reason).document())), reason)


async def stored_purchases(pool: Pool, lake: str | None) -> PurchaseLog:
    """All purchases: from Postgres, and the exported days from the lake, where its address is given."""
    if lake is None:
        return await purchase_log(pool, clock.now())
    joined, merged = await users_of_guests(pool), await owners_of_merged(pool)
    return await purchase_log_with_lake(pool, Lake.at(lake), clock.now(), joined=joined, merged=merged)


async def _decide(
    pool: Pool,
    stores: Stores,
    job: Job,
    path: Path,
    judged: Verdict,
    stand_in: _StandIn | None,
    decided_by: str,
    *,
    pins: bool,
) -> bool:
    """Register the written bundles, and let the gate decide; whether the baseline serves."""
    model = await asyncio.to_thread(_model, job.kind, path)
    baseline = None
    if stand_in is not None:
        other = await asyncio.to_thread(_model, job.kind, stand_in.path)
        baseline = Baseline(other, stand_in.reason, {"baseline": other.baseline, "refused": model.id, "job": job.id})
    evidence = evidence_in(model.evaluation) | {"job": job.id}
    async with connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout) as redis:
        return await decide_by_gate(pool, redis, job, model, judged, evidence, decided_by, baseline, pins=pins)


def _model(kind: str, path: Path) -> Model:
    """The written bundle as a model."""
    written = Bundle.open(path)
    evaluation, training = written.object("evaluation"), written.object("training")
    return Model(written.id, kind, written.created_at, written.digest, evaluation, None, training)


def as_log(
    stored: PurchaseLog,
    categories: Mapping[int, str],
    words: ItemWords | None = None,
    assumed: Interest = ASSUMED,
) -> Log:
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
        quantity=stored.quantity,
        signals=_as_signals(stored.signals),
        words=words,
        assumed=assumed,
    )


def assumed_by(settings: Evidence) -> Interest:
    """What a shop's settings assume of its events."""
    hours = {type: each * HOUR for type, each in settings.event_half_lives.items()}
    return Interest.assumed(settings.event_weights, hours)


def _as_signals(stored: StoredSignals) -> Signals:
    events = np.zeros(len(stored.item), EVENT)
    for name in ("type", "item", "occurred", "quantity", "cents"):
        events[name] = getattr(stored, name)
    events["order"] = stored.order + (stored.type == CODE[EventType.RETURN])
    return Signals(stored.person, events)


def _logged(stage: str, done: int, of: int) -> None:
    if done in (0, of):
        log.info("training_stage", stage=stage, done=done, of=of)
