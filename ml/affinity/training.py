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
from ml.affinity.baseline_networks import baseline_network, baseline_universe
from ml.affinity.calibration import platt
from ml.affinity.chance_fitting import Visited, check_chance, fit_chance
from ml.affinity.chances import Chance
from ml.affinity.methods import ranker_method
from ml.affinity.network import Network, sigmoid
from ml.affinity.pair_features import BY_CLOCK
from ml.affinity.ranking import Ranker
from ml.affinity.training_lists import TrainingLists, candidate_features, training_lists
from ml.baselines.methods import BASELINES, baseline_methods
from ml.baskets import first_baskets
from ml.clockless import is_clockless
from ml.evaluation import Evaluation, evaluate
from ml.log import Log, NothingToLearn
from ml.metrics import tied
from ml.provenance import code_identity, data_identity
from ml.rfm import quintiles, rfm
from ml.snapshot import best_supported, snapshot, with_complements
from ml.splits import HOLDOUT, holdout_cut, moments
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
    holdout: int = HOLDOUT  # days at the end of the log kept for evaluation when no orders after it are given
    lists_limit: int = 6_000  # per cut
    list_length: int = 96  # candidates per list
    hidden: tuple[int, ...] = (64, 32)
    models: int = 2  # networks that differ by their seed; their logits are averaged
    epochs: int = 6
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


class _Window(NamedTuple):
    """An earlier cut, the end of its horizon (seconds), and the universe as of that cut."""

    start: int
    end: int
    universe: Universe


class _Lesson(NamedTuple):
    """What is learned from, after the cut is chosen."""

    log: Log  # the lines of the items that may be ranked, before and after the cut
    past: Log  # those before it
    cut: int  # seconds
    windows: list[_Window]  # that training looked back from, latest first
    config: TrainingConfig
    clockless: bool  # see ml.clockless


def train(log: Log, cut: int | None, report: ReportProgress, config: TrainingConfig = DEFAULT) -> TrainedAffinity:
    """Learn from the lines before `cut` (seconds), evaluate on the later ones; the evaluated model may serve.

    Without a cut the last `config.holdout` days of the log are for evaluation. Raises `NothingToLearn` when there are
    no purchases before the cut or no person came back, and `ExportDiffers`.
    """
    log.require_lines()
    clockless = is_clockless(log.between(None, cut))
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
    lists, windows = _look_back(past, numbers, cut, config, report, clockless)
    fitted = _fitted(lists, config, report, clockless)
    universe = with_complements(snapshot(past, numbers, cut, clockless=clockless), past, cut)
    lesson = _Lesson(log, past, cut, windows, config, clockless)
    network, parity, equal = _exported(fitted, universe, lesson)
    evaluation = evaluate(
        log,
        numbers,
        cut,
        {
            RANKER: ranker_method(Ranker(universe, network), clockless=clockless),
            **baseline_methods(past, universe),
        },
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
    name = refused.evaluation.best_baseline
    universe = baseline_universe(name, lesson.past, refused.universe)
    network = baseline_network(name)
    latest = lesson.windows[0]
    then = baseline_universe(name, lesson.past.between(None, latest.start), latest.universe)
    lesson = lesson._replace(windows=[latest._replace(universe=then), *lesson.windows[1:]])
    network = export.calibrated(network, *_calibration(network, lesson))
    served = evaluate(
        lesson.log,
        universe.numbers,
        lesson.cut,
        {SERVED: ranker_method(Ranker(universe, network), clockless=lesson.clockless)},
        candidate=SERVED,
        baselines=(),
        seed=lesson.config.seed,
        report=lambda done, of: report("evaluating the best baseline", done, of),
    )
    methods = served.methods | refused.evaluation.methods
    evaluation = replace(served, methods=methods, baseline=name)
    plain: dict[str, Any] = {"parity": 0.0, "checked_chance": None, "chance": None}
    return replace(refused, universe=universe, network=network, evaluation=evaluation, **plain)


def training_moments(
    log: Log, cut: int, config: TrainingConfig, *, clockless: bool = False
) -> Iterator[tuple[int, int]]:
    """(earlier cut, end of its horizon) of each moment that training looks back from, latest first."""
    spans = {"count": config.cuts, "every": config.cut_every, "horizon": config.horizon}
    return moments(log, cut, **spans, clockless=clockless)


def _look_back(
    log: Log, numbers: NDArray[np.uint32], cut: int, config: TrainingConfig, report: ReportProgress, clockless: bool
) -> tuple[TrainingLists, list[_Window]]:
    """Lists of all windows, and the windows, latest first."""

    def look_back(index: int, start: int, end: int) -> tuple[TrainingLists, _Window]:
        universe = snapshot(log, numbers, start, clockless=clockless)
        seed = config.seed + index
        found = training_lists(log, universe, start, end, config.list_length, config.lists_limit, seed)
        return found, _Window(start, end, universe)

    parts: list[TrainingLists] = []
    windows: list[_Window] = []
    report("looking back", 0, config.cuts)
    with ThreadPoolExecutor(THREADS) as pool:
        dated = enumerate(training_moments(log, cut, config, clockless=clockless))
        tasks = [pool.submit(look_back, index, *moment) for index, moment in dated]
        for task in tasks:
            found, window = task.result()
            windows.append(window)
            parts.append(found)
            report("looking back", len(parts), config.cuts)
    if not any(map(len, parts)):
        raise NothingToLearn("No person in the purchase log came back and bought an item that could be predicted.")
    return TrainingLists.join(parts), windows


def _fitted(lists: TrainingLists, config: TrainingConfig, report: ReportProgress, clockless: bool) -> list[keras.Model]:
    """Models that differ by their seed alone; the mean of their logits serves."""
    epochs = config.epochs * config.models
    report("fitting the ranker", 0, epochs)

    def fitted(index: int) -> keras.Model:
        return fitting.fit(
            lists,
            hidden=config.hidden,
            epochs=config.epochs,
            batch=config.batch,
            learning_rate=config.learning_rate,
            seed=config.seed + index,
            epoch_done=lambda done: report("fitting the ranker", index * config.epochs + done, epochs),
            ignored=BY_CLOCK if clockless else (),
        )

    return [fitted(index) for index in range(config.models)]


def _exported(fitted: list[keras.Model], universe: Universe, lesson: _Lesson) -> tuple[Network, float, float]:
    """The serving network with calibrated scores, its largest difference from the Keras models, and its tied scores."""
    network = export.averaged([export.exported(model) for model in fitted])
    slope, shift = _calibration(network, lesson)
    network = export.calibrated(network, slope, shift)
    random = np.random.default_rng(lesson.config.seed)
    people = random.permutation(np.unique(lesson.past.person))[: lesson.config.histories].tolist()
    found = (candidate_features(lesson.past, universe, person, lesson.cut) for person in people)
    histories = [each.features for each in found if each]
    parity = export.check_parity(fitting.average(fitted), network, slope, shift, histories)
    equal = [tied(sigmoid(network.logits(features))) for features in histories]
    return network, parity, float(np.mean(equal)) if equal else 0.0


def _calibration(network: Network, lesson: _Lesson) -> tuple[float, float]:
    """Slope and shift, fitted on whole candidate lists of people's first orders after one earlier cut.

    Training lists would not do: they hold too few items that were not bought.
    """
    latest = lesson.windows[0]
    baskets = first_baskets(lesson.past, latest.start, latest.end)
    logits, bought = [], []
    random = np.random.default_rng(lesson.config.seed)
    for index in random.permutation(len(baskets))[: lesson.config.histories].tolist():
        person, visit = int(baskets.people[index]), int(baskets.visits[index])
        if found := candidate_features(lesson.past, latest.universe, person, visit):
            logits.append(network.logits(found.features))
            bought.append(np.isin(found.numbers, baskets[index]))
    return platt(np.concatenate(logits), np.concatenate(bought)) if logits else (1.0, 0.0)


def _fitted_chance(network: Network, lesson: _Lesson) -> Chance | None:
    """Fitted on the earlier of the last two windows: the horizon of its last visit ends with the later one."""
    if lesson.clockless or len(lesson.windows) < 2:
        return None
    latest, window = lesson.windows[:2]
    config, horizon = lesson.config, latest.end - latest.start
    visited = Visited(lesson.past, window.universe, window.start, horizon, lesson.cut)
    return fit_chance(network, visited, people=config.histories, seed=config.seed)


def _checked_chance(chance: Chance, network: Network, universe: Universe, lesson: _Lesson) -> dict[str, Any] | None:
    config = lesson.config
    visited = Visited(lesson.log, universe, lesson.cut, chance.horizon, int(lesson.log.occurred.max()) + 1)
    return check_chance(chance, network, visited, people=config.histories, seed=config.seed)


def _rfm_edges(log: Log, as_of: int) -> NDArray[np.float64]:
    values = [rfm(log.state(person, as_of), as_of) for person in np.unique(log.person).tolist()]
    return quintiles(np.array([value for value in values if value], np.float64).reshape(-1, 3))
