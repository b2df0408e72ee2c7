"""Training of the affinity model: look back at earlier moments, fit a ranker to them, export it, evaluate it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.affinity import export, fitting, model
from ml.affinity.baseline_networks import baseline_network
from ml.affinity.calibration import platt
from ml.affinity.chance_fitting import check_chance, fit_chance
from ml.affinity.chances import Chance
from ml.affinity.network import Network, sigmoid
from ml.affinity.ranking import Ranker, rank
from ml.affinity.training_lists import TrainingLists, candidate_features, training_lists
from ml.baselines.counting import BASELINES, baseline_methods
from ml.baskets import first_baskets
from ml.evaluation import Evaluation, Method, evaluate
from ml.fallback import Fallback
from ml.log import Log, NothingToLearn, state_of
from ml.masks import mask_of
from ml.metrics import tied
from ml.provenance import code_identity, data_identity
from ml.rfm import quintiles, rfm
from ml.snapshot import best_supported, snapshot, with_complements
from ml.splits import holdout_cut, moments
from ml.state import Table
from ml.trainers import ReportProgress
from ml.universe import Universe

RANKER = "ranker"  # the model's name among the evaluated methods
SERVED = "served"  # that of a baseline as it serves: among the same candidates, without resting items
_PACKAGES = {"numpy": np.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
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
    """A trained model, or a baseline in its place, with everything that its bundle needs."""

    item_ids: list[str]
    rfm_edges: NDArray[np.float64]
    evaluation: Evaluation
    parity: float  # largest difference of a probability between Keras and the export
    training: dict[str, Any]  # where it comes from
    make_baseline: Callable[["TrainedAffinity", ReportProgress], "TrainedAffinity"]
    checked_chance: dict[str, Any] | None = None  # the probabilities against what was bought after the cut

    def best_baseline(self, report: ReportProgress) -> "TrainedAffinity":
        """The best baseline of the evaluation, ready to serve where this model is refused."""
        return self.make_baseline(self, report)

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`. Raises `BundleRefused` if it could not serve."""
        path = model.write(
            folder,
            self.universe,
            self.network,
            item_ids=self.item_ids,
            rfm_edges=self.rfm_edges,
            evaluation={
                **self.evaluation.document(),
                "parity": self.parity,
                "horizon": self.chance and self.chance.horizon,  # seconds
                "probability": self.checked_chance,
            },
            created_at=created_at,
            training=self.training,
            chance=self.chance,
        )
        model.AffinityModel.open(path)
        return path


class _Lesson(NamedTuple):
    """What is learned from, after the cut is chosen."""

    log: Log  # the lines of the items that may be ranked, before and after the cut
    past: Log  # those before it
    cut: int  # seconds
    latest: Universe  # as of the latest earlier moment
    config: TrainingConfig


def train(log: Log, cut: int | None, report: ReportProgress, config: TrainingConfig = DEFAULT) -> TrainedAffinity:
    """Learn from the lines before `cut` (seconds), evaluate on the later ones; the evaluated model may serve.

    Without a cut the last `config.holdout` days of the log are for evaluation. Raises `NothingToLearn` when there are
    no purchases before the cut or no person came back, and `ExportDiffers`.
    """
    log.require_lines()
    cut = holdout_cut(log, config.holdout) if cut is None else cut
    training = {
        "seed": config.seed,
        "settings": asdict(config),
        "code": code_identity(_PACKAGES),
        "data": data_identity(log, cut),
    }
    numbers = best_supported(log.between(None, cut).kept, config.item_limit)
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
    universe = with_complements(snapshot(past, numbers, cut), past, cut)
    lesson = _Lesson(log, past, cut, latest, config)
    network, parity, equal = _exported(fitted, universe, lesson)
    evaluation = evaluate(
        log,
        numbers,
        cut,
        {RANKER: ranker_method(Ranker(universe, network)), **baseline_methods(universe)},
        candidate=RANKER,
        baselines=BASELINES,
        seed=config.seed,
        report=lambda done, of: report("evaluating", done, of),
        tied=equal,
    )
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    chance = _fitted_chance(network, lesson)
    return TrainedAffinity(
        universe,
        network,
        [id_of[number] for number in numbers.tolist()],
        _rfm_edges(past, cut),
        evaluation,
        parity,
        training,
        partial(_baseline, lesson=lesson),
        _checked_chance(chance, network, universe, lesson) if chance else None,
        chance=chance,
    )


def _baseline(refused: TrainedAffinity, report: ReportProgress, *, lesson: _Lesson) -> TrainedAffinity:
    """The best baseline of the evaluation as a model of the same items, evaluated as it would serve."""
    name, universe = refused.evaluation.best_baseline, refused.universe
    network = baseline_network(name)
    network = export.calibrated(network, *_calibration(network, lesson))
    served = evaluate(
        lesson.log,
        universe.numbers,
        lesson.cut,
        {SERVED: ranker_method(Ranker(universe, network))},
        candidate=SERVED,
        baselines=(),
        seed=lesson.config.seed,
        report=lambda done, of: report("evaluating the best baseline", done, of),
    )
    methods = served.methods | refused.evaluation.methods
    evaluation = replace(served, methods=methods, baseline=name)
    return replace(refused, network=network, evaluation=evaluation, parity=0.0, checked_chance=None, chance=None)


def ranker_method(ranker: Ranker) -> Method:
    """The ranker as a method to be evaluated: all items of its universe except resting items."""
    universe = ranker.universe
    everything, none = mask_of(universe.numbers), np.empty(0, np.uint32)
    fallback = Fallback.popular(universe.popular_numbers)

    def method(history: Table, as_of: int) -> NDArray[np.uint32]:
        return rank(
            ranker,
            state_of(history, as_of),
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


def _exported(fitted: keras.Model, universe: Universe, lesson: _Lesson) -> tuple[Network, float, float]:
    """The serving network with calibrated scores, its largest difference from the Keras model, and its tied scores."""
    network = export.exported(fitted)
    slope, shift = _calibration(network, lesson)
    network = export.calibrated(network, slope, shift)
    random = np.random.default_rng(lesson.config.seed)
    people = random.permutation(np.unique(lesson.past.person))[: lesson.config.histories].tolist()
    found = (candidate_features(lesson.past, universe, person, lesson.cut) for person in people)
    histories = [each.features for each in found if each]
    parity = export.check_parity(fitted, network, slope, shift, histories)
    equal = [tied(sigmoid(network.logits(features))) for features in histories]
    return network, parity, float(np.mean(equal)) if equal else 0.0


def _calibration(network: Network, lesson: _Lesson) -> tuple[float, float]:
    """Slope and shift, fitted on whole candidate lists of one earlier cut.

    Training lists would not do: they hold too few items that were not bought.
    """
    earlier, end = next(training_moments(lesson.past, lesson.cut, lesson.config))
    baskets = first_baskets(lesson.past, earlier, end)
    logits, bought = [], []
    random = np.random.default_rng(lesson.config.seed)
    for index in random.permutation(len(baskets))[: lesson.config.histories].tolist():
        if found := candidate_features(lesson.past, lesson.latest, int(baskets.people[index]), earlier):
            logits.append(network.logits(found.features))
            bought.append(np.isin(found.numbers, baskets[index]))
    return platt(np.concatenate(logits), np.concatenate(bought)) if logits else (1.0, 0.0)


def _fitted_chance(network: Network, lesson: _Lesson) -> Chance | None:
    earlier, end = next(training_moments(lesson.past, lesson.cut, lesson.config))
    config = lesson.config
    return fit_chance(network, lesson.past, lesson.latest, earlier, end, people=config.histories, seed=config.seed)


def _checked_chance(chance: Chance, network: Network, universe: Universe, lesson: _Lesson) -> dict[str, Any] | None:
    config = lesson.config
    return check_chance(chance, network, lesson.log, universe, lesson.cut, people=config.histories, seed=config.seed)


def _rfm_edges(log: Log, as_of: int) -> NDArray[np.float64]:
    values = [rfm(log.state(person, as_of), as_of) for person in np.unique(log.person).tolist()]
    return quintiles(np.array([value for value in values if value], np.float64).reshape(-1, 3))
