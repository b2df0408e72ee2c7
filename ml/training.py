"""Learning from the log: lists of what people bought after earlier moments, a ranker fitted to them, its evaluation."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from ml import bundle, export, ranker
from ml.baskets import first_baskets
from ml.calibration import platt
from ml.evaluation import Evaluation, evaluate
from ml.lists import Lists, candidate_features, training_lists
from ml.log import Log, NothingToLearn
from ml.network import Network
from ml.rfm import quintiles, rfm
from ml.snapshot import best_supported, snapshot
from ml.universe import Universe

DAY = 86_400
WORKERS = 2  # threads that look back at once; sparse products and partitions let go of the interpreter
Report = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides what a training makes of a log."""

    item_limit: int = 10_000  # items with the most purchases; no other is ranked by the net
    cuts: int = 6  # earlier moments people are looked at from
    cut_every: int = 14  # days between them
    horizon: int = 14  # days after a cut in which the next order is looked for
    holdout: int = 28  # days at the end of the log kept for evaluation when no orders after it are given
    people_limit: int = 20_000  # lists per cut
    list_length: int = 96  # candidates per list
    hidden: tuple[int, ...] = (64, 32)
    epochs: int = 10
    batch: int = 32  # lists
    learning_rate: float = 2e-3
    histories: int = 300  # real ones, for calibration and for the proof that the export ranks like Keras
    seed: int = 7


@dataclass(frozen=True, eq=False)
class Trained:
    """What is written into a bundle."""

    universe: Universe
    network: Network
    item_ids: list[str]
    rfm_edges: NDArray[np.float64]
    evaluation: Evaluation
    parity: float  # largest difference of a probability between Keras and the export

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`."""
        return bundle.write(
            folder,
            self.universe,
            self.network,
            item_ids=self.item_ids,
            rfm_edges=self.rfm_edges,
            evaluation={**self.evaluation.document(), "parity": self.parity},
            created_at=created_at,
        )


def train(log: Log, cut: int | None, config: TrainingConfig, report: Report) -> Trained:
    """Learn from the lines before `cut` (seconds) and evaluate on those from it on; what was tested is what serves.

    Without a cut the last `config.holdout` days of the log are evaluated on. Raises `NothingToLearn` when nobody
    bought anything before the cut, or nobody came back, and `ExportDiffers`.
    """
    log.require_lines()
    cut = _last_days(log, config) if cut is None else cut
    numbers = best_supported(log.between(None, cut), config.item_limit)
    log = log.of_items(numbers)
    past = log.between(None, cut)
    if not len(past):
        raise NothingToLearn("There are no purchases before the cut.")
    lists, latest = _lists(past, numbers, cut, config, report)
    model = ranker.fit(
        lists,
        hidden=config.hidden,
        epochs=config.epochs,
        batch=config.batch,
        learning_rate=config.learning_rate,
        seed=config.seed,
        epoch_done=lambda done: report("fitting the ranker", done, config.epochs),
    )
    universe = snapshot(past, numbers, cut)
    network, parity = _exported(model, past, latest, universe, cut, config)
    evaluation = evaluate(log, universe, network, cut, config.seed, lambda done, of: report("evaluating", done, of))
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    item_ids = [id_of[number] for number in numbers.tolist()]
    return Trained(universe, network, item_ids, _rfm_edges(past, cut), evaluation, parity)


def _last_days(log: Log, config: TrainingConfig) -> int:
    """The cut that leaves the last days of the log, or its last fifth where it is short, for evaluation."""
    first, last = int(log.occurred.min()), int(log.occurred.max())
    return last + 1 - min(config.holdout * DAY, (last - first) // 5)


def moments(log: Log, cut: int, config: TrainingConfig) -> Iterator[tuple[int, int]]:
    """(earlier cut, end of its horizon), latest first: all horizons end by `cut`; spans shrink to fit a short log."""
    span = cut - int(log.occurred.min())
    wanted = config.horizon * DAY + (config.cuts - 1) * config.cut_every * DAY
    scale = min(1.0, 0.6 * span / wanted)
    horizon, every = max(1, int(config.horizon * DAY * scale)), max(1, int(config.cut_every * DAY * scale))
    for index in range(config.cuts):
        earlier = cut - horizon - index * every
        yield earlier, earlier + horizon


def _lists(
    log: Log, numbers: NDArray[np.uint32], cut: int, config: TrainingConfig, report: Report
) -> tuple[Lists, Universe]:
    """Lists of all earlier moments, and the universe as of the latest of them."""

    def look_back(index: int, earlier: int, end: int) -> tuple[Lists, Universe]:
        universe = snapshot(log, numbers, earlier)
        seed = config.seed + index
        found = training_lists(log, universe, earlier, end, config.list_length, config.people_limit, seed)
        return found, universe

    parts: list[Lists] = []
    latest: Universe | None = None
    report("looking back", 0, config.cuts)
    with ThreadPoolExecutor(WORKERS) as pool:
        tasks = [pool.submit(look_back, index, *moment) for index, moment in enumerate(moments(log, cut, config))]
        for task in tasks:
            found, universe = task.result()
            latest = latest or universe
            parts.append(found)
            report("looking back", len(parts), config.cuts)
    lists = Lists.join(parts)
    if latest is None or not len(lists):
        raise NothingToLearn("Nobody in the purchase log came back for anything that could have been foretold.")
    return lists, latest


def _exported(
    model: keras.Model, log: Log, latest: Universe, universe: Universe, cut: int, config: TrainingConfig
) -> tuple[Network, float]:
    """The serving network, its scores brought to probabilities, and how far it is from the Keras model at most."""
    network = export.exported(model)
    earlier, end = next(moments(log, cut, config))
    slope, shift = _calibration(network, log, latest, earlier, end, config)
    network = export.calibrated(network, slope, shift)
    random = np.random.default_rng(config.seed)
    people = random.permutation(np.unique(log.person))[: config.histories].tolist()
    histories = [seen[1] for person in people if (seen := candidate_features(log, universe, person, cut))]
    return network, export.check_parity(model, network, slope, shift, histories)


def _calibration(
    network: Network, log: Log, universe: Universe, earlier: int, end: int, config: TrainingConfig
) -> tuple[float, float]:
    """Fitted on whole candidate lists of the latest earlier cut: training lists hold too few that were not bought."""
    baskets = first_baskets(log, earlier, end)
    logits, bought = [], []
    random = np.random.default_rng(config.seed)
    for index in random.permutation(len(baskets))[: config.histories].tolist():
        if seen := candidate_features(log, universe, int(baskets.people[index]), earlier):
            logits.append(network.logits(seen[1]))
            bought.append(np.isin(seen[0], baskets[index]))
    return platt(np.concatenate(logits), np.concatenate(bought)) if logits else (1.0, 0.0)


def _rfm_edges(log: Log, as_of: int) -> NDArray[np.float64]:
    values = [rfm(log.state(person, as_of), as_of) for person in np.unique(log.person).tolist()]
    return quintiles(np.array([value for value in values if value], np.float64).reshape(-1, 3))
