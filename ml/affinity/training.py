"""Training of the affinity model: look back at earlier moments, fit a ranker to them, export it, evaluate it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from ml.affinity import export, fitting, model
from ml.affinity.calibration import platt
from ml.affinity.network import Network
from ml.affinity.ranking import Ranker, rank
from ml.affinity.training_lists import TrainingLists, candidate_features, training_lists
from ml.baselines.counting import MANDATORY, baseline_methods
from ml.baskets import first_baskets
from ml.evaluation import Evaluation, Method, evaluate
from ml.fallback import Fallback
from ml.log import Log, NothingToLearn
from ml.masks import mask_of
from ml.rfm import quintiles, rfm
from ml.snapshot import best_supported, snapshot
from ml.splits import holdout_cut, moments
from ml.state import State, Table, fold
from ml.trainers import ReportProgress
from ml.universe import Universe

RANKER = "ranker"  # the model's name among the evaluated methods
THREADS = 2  # that look back at once; sparse products and partitions release the interpreter


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Every setting of a training."""

    item_limit: int = 10_000  # items with the most purchases; the network ranks no other
    cuts: int = 6  # earlier moments that people are looked at from
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


DEFAULT = TrainingConfig()


@dataclass(frozen=True, eq=False)
class TrainedAffinity(Ranker):
    """A trained model with everything that its bundle needs."""

    item_ids: list[str]
    rfm_edges: NDArray[np.float64]
    evaluation: Evaluation
    parity: float  # largest difference of a probability between Keras and the export

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`. Raises `BundleRefused` if it could not serve."""
        path = model.write(
            folder,
            self.universe,
            self.network,
            item_ids=self.item_ids,
            rfm_edges=self.rfm_edges,
            evaluation={**self.evaluation.document(), "parity": self.parity},
            created_at=created_at,
        )
        model.AffinityModel.open(path)
        return path


def train(log: Log, cut: int | None, report: ReportProgress, config: TrainingConfig = DEFAULT) -> TrainedAffinity:
    """Learn from the lines before `cut` (seconds), evaluate on the later ones; the evaluated model may serve.

    Without a cut the last `config.holdout` days of the log are for evaluation. Raises `NothingToLearn` when there are
    no purchases before the cut or no person came back, and `ExportDiffers`.
    """
    log.require_lines()
    cut = holdout_cut(log, config.holdout) if cut is None else cut
    numbers = best_supported(log.between(None, cut), config.item_limit)
    log = log.of_items(numbers)
    past = log.between(None, cut)
    if not len(past):
        raise NothingToLearn("There are no purchases before the cut.")
    lists, latest = _look_back(past, numbers, cut, config, report)
    fitted = fitting.fit(
        lists,
        hidden=config.hidden,
        epochs=config.epochs,
        batch=config.batch,
        learning_rate=config.learning_rate,
        seed=config.seed,
        epoch_done=lambda done: report("fitting the ranker", done, config.epochs),
    )
    universe = snapshot(past, numbers, cut)
    network, parity = _exported(fitted, past, latest, universe, cut, config)
    evaluation = evaluate(
        log,
        numbers,
        cut,
        {RANKER: ranker_method(Ranker(universe, network)), **baseline_methods(universe)},
        candidate=RANKER,
        mandatory=MANDATORY,
        seed=config.seed,
        report=lambda done, of: report("evaluating", done, of),
    )
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    item_ids = [id_of[number] for number in numbers.tolist()]
    return TrainedAffinity(universe, network, item_ids, _rfm_edges(past, cut), evaluation, parity)


def ranker_method(ranker: Ranker) -> Method:
    """The ranker as a method to be evaluated: all items of its universe except resting items."""
    universe = ranker.universe
    everything, none = mask_of(universe.numbers), np.empty(0, np.uint32)
    fallback = Fallback.popular(universe.popular_numbers)

    def method(purchases: Table, as_of: int) -> NDArray[np.uint32]:
        return rank(
            ranker,
            fold(State.empty(), purchases),
            as_of=as_of,
            allowed=everything,
            context=none,
            fallback=fallback,
            first=len(universe.numbers),
        ).numbers

    return method


def training_moments(log: Log, cut: int, config: TrainingConfig) -> Iterator[tuple[int, int]]:
    """(earlier cut, end of its horizon) of each moment that training looks back from, latest first."""
    return moments(log, cut, count=config.cuts, every=config.cut_every, horizon=config.horizon)


def _look_back(
    log: Log, numbers: NDArray[np.uint32], cut: int, config: TrainingConfig, report: ReportProgress
) -> tuple[TrainingLists, Universe]:
    """Lists of all earlier moments, and the universe as of the latest of them."""

    def look_back(index: int, earlier: int, end: int) -> tuple[TrainingLists, Universe]:
        universe = snapshot(log, numbers, earlier)
        seed = config.seed + index
        found = training_lists(log, universe, earlier, end, config.list_length, config.people_limit, seed)
        return found, universe

    parts: list[TrainingLists] = []
    latest: Universe | None = None
    report("looking back", 0, config.cuts)
    with ThreadPoolExecutor(THREADS) as pool:
        dated = enumerate(training_moments(log, cut, config))
        tasks = [pool.submit(look_back, index, *moment) for index, moment in dated]
        for task in tasks:
            found, universe = task.result()
            latest = latest or universe
            parts.append(found)
            report("looking back", len(parts), config.cuts)
    lists = TrainingLists.join(parts)
    if latest is None or not len(lists):
        raise NothingToLearn("No person in the purchase log came back and bought an item that could be predicted.")
    return lists, latest


def _exported(
    fitted: keras.Model, log: Log, latest: Universe, universe: Universe, cut: int, config: TrainingConfig
) -> tuple[Network, float]:
    """The serving network with calibrated scores, and its largest difference from the Keras model."""
    network = export.exported(fitted)
    earlier, end = next(training_moments(log, cut, config))
    slope, shift = _calibration(network, log, latest, earlier, end, config)
    network = export.calibrated(network, slope, shift)
    random = np.random.default_rng(config.seed)
    people = random.permutation(np.unique(log.person))[: config.histories].tolist()
    histories = [found.features for person in people if (found := candidate_features(log, universe, person, cut))]
    return network, export.check_parity(fitted, network, slope, shift, histories)


def _calibration(
    network: Network, log: Log, universe: Universe, earlier: int, end: int, config: TrainingConfig
) -> tuple[float, float]:
    """Slope and shift, fitted on whole candidate lists of one earlier cut.

    Training lists would not do: they hold too few items that were not bought.
    """
    baskets = first_baskets(log, earlier, end)
    logits, bought = [], []
    random = np.random.default_rng(config.seed)
    for index in random.permutation(len(baskets))[: config.histories].tolist():
        if found := candidate_features(log, universe, int(baskets.people[index]), earlier):
            logits.append(network.logits(found.features))
            bought.append(np.isin(found.numbers, baskets[index]))
    return platt(np.concatenate(logits), np.concatenate(bought)) if logits else (1.0, 0.0)


def _rfm_edges(log: Log, as_of: int) -> NDArray[np.float64]:
    values = [rfm(log.state(person, as_of), as_of) for person in np.unique(log.person).tolist()]
    return quintiles(np.array([value for value in values if value], np.float64).reshape(-1, 3))
