"""Training of the affinity model: look back at earlier moments, fit a ranker to them, export it, evaluate it."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.affinity import export, fitting, model
from ml.affinity.baseline_networks import SEQUENCE, baseline_network, baseline_universe
from ml.affinity.chance_fitting import Visited, check_chance, fit_chance
from ml.affinity.chances import Chance
from ml.affinity.methods import ranker_method
from ml.affinity.model import AffinityModel
from ml.affinity.network import Network, sigmoid
from ml.affinity.pair_features import BY_CLOCK
from ml.affinity.ranking import Ranker
from ml.affinity.refreshing import as_of_cut
from ml.affinity.sequence_lists import learn_sequence
from ml.affinity.training_lists import TrainingLists, candidate_features, training_lists
from ml.affinity.validation_lists import validation_lists
from ml.baselines.item_tables import LastState
from ml.baselines.methods import BASELINES, baseline_methods
from ml.choosing import Choice, best_of
from ml.clockless import is_clockless
from ml.evaluation import Evaluation, evaluate
from ml.log import Log, NothingToLearn
from ml.metrics import tied
from ml.provenance import code_identity, data_identity, weights_identity
from ml.rfm import rfm_edges
from ml.sequence.export import SequenceExportDiffers
from ml.sequence.lessons import may_help
from ml.snapshot import best_supported, snapshot, with_complements
from ml.splits import HOLDOUT, Spans, Window, holdout_cut, spans_before
from ml.trainers import ReportProgress
from ml.universe import Universe

RANKER_WITH_SEQUENCE = "ranker_with_sequence"  # a variant
RANKER = "ranker"  # the model's name among the evaluated methods
SERVED = "served"  # that of a baseline as it serves: among the same candidates, without resting items
_PACKAGES = {"numpy": np.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
CHOSEN_ON = 2_000  # people of the validation span, for the choice between rankers and the sequence net
THREADS = 2  # that look back at once; sparse products and partitions release the interpreter


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Every setting of a training."""

    item_limit: int = 10_000  # items with the most purchases; the network ranks no other
    cuts: int = 6  # training windows
    cut_every: int = 14  # days between their starts
    horizon: int = 14  # days of a window; the validation span has two of them
    holdout: int = HOLDOUT  # days at the end of the log kept for evaluation when no orders after it are given
    lists_limit: int = 6_000  # per window
    list_length: int = 96  # candidates per list
    hidden: tuple[int, ...] = (64, 32)
    models: int = 2  # networks that differ by their seed; their logits are averaged
    epochs: int = 6
    stops: tuple[float, ...] = (1.0, 0.5)  # shares of the epochs after which fitting may end; validation chooses
    batch: int = 32  # lists
    learning_rate: float = 2e-3
    validated: int = 1_000  # people of the validation span, for the choice and the calibration
    histories: int = 300  # real ones, for probabilities and for the proof that the export ranks like Keras
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

    def with_gate(self, gate: dict[str, Any]) -> "TrainedAffinity":
        """The same with the verdict of the gate in its evaluation."""
        return replace(self, evaluation=replace(self.evaluation, gate=gate))

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
        AffinityModel.open(path)
        return path


class _Ready(NamedTuple):
    """A network that may serve."""

    network: Network
    parity: float  # largest difference of a probability between Keras and the export
    tied: float  # mean share of the first ten scores that equal another one there
    choice: Choice  # of the epochs


class _Lesson(NamedTuple):
    """What is learned from, after the cut is chosen."""

    log: Log  # the lines of the items that may be ranked, before and after the cut
    past: Log  # those before it
    numbers: NDArray[np.uint32]  # these items
    cut: int  # seconds
    spans: Spans  # before the cut
    validation: list[Universe]  # as of the start of each window of the validation span
    config: TrainingConfig
    clockless: bool  # see ml.clockless


def train(
    log: Log,
    cut: int | None,
    report: ReportProgress,
    config: TrainingConfig = DEFAULT,
    *,
    rivals: Mapping[str, AffinityModel] = MappingProxyType({}),
) -> TrainedAffinity:
    """Learn from the lines before `cut` (seconds), evaluate on the later ones; the evaluated model may serve.

    `rivals` are versions to compare with, by name. Each is evaluated as it would serve at the cut, with its weights and
    tables as of then. One that learned from lines after the cut knows more than the others here.

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
    spans = training_spans(past, cut, config, clockless=clockless)
    lists, validation = _look_back(past, numbers, spans, config, report, clockless)
    lesson = _Lesson(log, past, numbers, cut, spans, validation, config, clockless)
    fitted = _fitted(lists, config, report, clockless)
    del lists
    universe = with_complements(snapshot(past, numbers, cut, clockless=clockless), past, cut)
    plain, ready = lesson, _exported(fitted, universe, lesson)
    if spans.training and may_help(past):
        universe, lesson, ready, training["sequence"] = _best_with_sequence(universe, lesson, ready, report)
    network, parity, equal, choice = ready
    training["validation"] = {
        "from": spans.validation_start,
        "until": cut,
        "people": choice.people,
        "ndcg_at_10": choice.ndcg,
        "epochs": choice.name,
    }
    states = LastState()  # every method is asked for the same person in turn
    evaluation = evaluate(
        log,
        numbers,
        cut,
        {
            RANKER: ranker_method(Ranker(universe, network), states, clockless=clockless),
            **{
                name: ranker_method(as_of_cut(rival, past, universe), states, clockless=clockless)
                for name, rival in rivals.items()
            },
            **baseline_methods(past, universe, read_state=states),
        },
        candidate=RANKER,
        baselines=BASELINES,
        seed=config.seed,
        report=lambda done, of: report("evaluating", done, of),
        tied=equal,
        rivals=tuple(rivals),
    )
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    chance = _fitted_chance(network, lesson)
    learned = universe.sequence.parts().values() if universe.sequence else ()
    training["weights_sha256"] = weights_identity((*network.kernels, *network.biases, *learned))
    return TrainedAffinity(
        universe,
        network,
        [id_of[number] for number in numbers.tolist()],
        rfm_edges(past, cut),
        evaluation,
        parity,
        training,
        partial(_baseline, lesson=plain),
        _checked_chance(chance, network, universe, lesson) if chance else None,
        chance=chance,
    )


def _baseline(refused: TrainedAffinity, report: ReportProgress, *, lesson: _Lesson) -> TrainedAffinity:
    """The best baseline of the evaluation as a model of the same items, evaluated as it would serve."""
    name = refused.evaluation.best_baseline
    universe = baseline_universe(name, lesson.past, replace(refused.universe, sequence=None))
    network = baseline_network(name)
    latest, config = lesson.spans.validation[0], lesson.config
    then = baseline_universe(name, lesson.past.between(None, latest.start), lesson.validation[0])
    lists = validation_lists(lesson.past, then, latest, config.validated, config.seed)
    network = export.calibrated(network, *lists.calibration(network))
    served = evaluate(
        lesson.log,
        universe.numbers,
        lesson.cut,
        {SERVED: ranker_method(Ranker(universe, network), clockless=lesson.clockless)},
        candidate=SERVED,
        baselines=(),
        seed=config.seed,
        report=lambda done, of: report("evaluating the best baseline", done, of),
    )
    methods = served.methods | refused.evaluation.methods
    evaluation = replace(served, methods=methods, baseline=name)
    plain: dict[str, Any] = {"parity": 0.0, "checked_chance": None, "chance": None}
    return replace(refused, universe=universe, network=network, evaluation=evaluation, **plain)


def training_spans(log: Log, cut: int, config: TrainingConfig, *, clockless: bool = False) -> Spans:
    """The training windows and the validation span before the cut (seconds)."""
    spans = {"count": config.cuts, "every": config.cut_every, "horizon": config.horizon}
    return spans_before(log, cut, **spans, clockless=clockless)


def _look_back(
    log: Log,
    numbers: NDArray[np.uint32],
    spans: Spans,
    config: TrainingConfig,
    report: ReportProgress,
    clockless: bool,
) -> tuple[TrainingLists, list[Universe]]:
    """Lists of all training windows, and the universes of the validation span.

    Lists are made from what is before the validation span, so that no fit can read it.
    """
    earlier = log.between(None, spans.validation_start)

    def look_back(index: int, window: Window) -> TrainingLists:
        universe = snapshot(earlier, numbers, window.start, clockless=clockless)
        seed = config.seed + index
        return training_lists(earlier, universe, *window, config.list_length, config.lists_limit, seed)

    parts: list[TrainingLists] = []
    windows = len(spans.training)
    report("looking back", 0, windows)
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(look_back, index, window) for index, window in enumerate(spans.training)]
        then = [pool.submit(snapshot, log, numbers, each.start, clockless=clockless) for each in spans.validation]
        while tasks:
            parts.append(tasks.pop(0).result())
            report("looking back", len(parts), windows)
        validation = [task.result() for task in then]
    if not any(map(len, parts)):
        raise NothingToLearn("No person in the purchase log came back and bought an item that could be predicted.")
    return TrainingLists.join(parts), validation


def _fitted(
    lists: TrainingLists, config: TrainingConfig, report: ReportProgress, clockless: bool
) -> list[fitting.Fitted]:
    """Models that differ by their seed alone; the mean of their logits serves."""
    epochs = config.epochs * config.models
    report("fitting the ranker", 0, epochs)

    def fitted(index: int) -> fitting.Fitted:
        return fitting.fit(
            lists,
            hidden=config.hidden,
            epochs=config.epochs,
            stops=[max(1, round(share * config.epochs)) for share in config.stops],
            batch=config.batch,
            learning_rate=config.learning_rate,
            seed=config.seed + index,
            epoch_done=lambda done: report("fitting the ranker", index * config.epochs + done, epochs),
            ignored=BY_CLOCK if clockless else (),
        )

    return [fitted(index) for index in range(config.models)]


def _best_with_sequence(
    universe: Universe, lesson: _Lesson, ready: _Ready, report: ReportProgress
) -> tuple[Universe, _Lesson, _Ready, dict[str, Any]]:
    """The best of three on the validation span: the ranker, the sequence net alone, a ranker that knows its scores.

    A net that cannot be exported, such as one whose loss became NaN, changes nothing.
    """
    config, latest = lesson.config, lesson.spans.validation[0]
    try:
        windows = (lesson.past, lesson.numbers, lesson.spans, lesson.clockless)
        learnt = learn_sequence(*windows, config.list_length, config.lists_limit, config.seed, report)
    except SequenceExportDiffers as error:
        return universe, lesson, ready, {"variant": RANKER, "failed": str(error)}
    lists = validation_lists(lesson.past, lesson.validation[0], latest, CHOSEN_ON, config.seed)
    values = {RANKER: lists.ndcg(ready.network)}
    blend, fitted_as = learnt.trained.blend, learnt.trained.config
    known = lesson._replace(validation=[replace(each, sequence=blend) for each in lesson.validation])
    also = replace(universe, sequence=blend)
    lists = validation_lists(lesson.past, known.validation[0], latest, CHOSEN_ON, config.seed)
    alone = baseline_network(SEQUENCE)
    alone = export.calibrated(alone, *lists.calibration(alone))
    equal = _tied(alone, _histories(also, known))
    variants = {
        RANKER: (universe, lesson, ready),
        SEQUENCE: (also, known, _Ready(alone, learnt.trained.parity, equal, ready.choice)),
    }
    if len(learnt.lists):
        other = _exported(_fitted(learnt.lists, config, report, lesson.clockless), also, known)
        variants[RANKER_WITH_SEQUENCE] = (also, known, other._replace(parity=max(other.parity, learnt.trained.parity)))
    choice = best_of(values | {name: lists.ndcg(each[2].network) for name, each in variants.items() if name != RANKER})
    said = {"variant": choice.name, "ndcg_at_10": choice.ndcg, "people": choice.people}
    return *variants[choice.name], said | {"settings": asdict(fitted_as), "rules_weight": blend.weight}


def _exported(fitted: list[fitting.Fitted], universe: Universe, lesson: _Lesson) -> _Ready:
    """The serving network, its largest difference from the Keras models, its tied scores, and the choice of epochs.

    The validation span chooses after how many epochs the weights are taken, and calibrates the scores.
    """
    config, latest = lesson.config, lesson.spans.validation[0]
    lists = validation_lists(lesson.past, lesson.validation[0], latest, config.validated, config.seed)
    networks = {
        epochs: export.averaged([export.exported(each.after(epochs)) for each in fitted]) for epochs in fitted[0].stops
    }
    choice = best_of({str(epochs): lists.ndcg(network) for epochs, network in networks.items()})
    network, models = networks[int(choice.name)], [each.after(int(choice.name)) for each in fitted]
    slope, shift = lists.calibration(network)
    network = export.calibrated(network, slope, shift)
    histories = _histories(universe, lesson)
    parity = export.check_parity(fitting.average(models), network, slope, shift, histories)
    return _Ready(network, parity, _tied(network, histories), choice)


def _histories(universe: Universe, lesson: _Lesson) -> list[NDArray[np.float32]]:
    """The candidate lists of some people as of the cut."""
    random = np.random.default_rng(lesson.config.seed)
    people = random.permutation(np.unique(lesson.past.person))[: lesson.config.histories].tolist()
    found = (candidate_features(lesson.past, universe, person, lesson.cut) for person in people)
    return [each.features for each in found if each]


def _tied(network: Network, histories: list[NDArray[np.float32]]) -> float:
    equal = [tied(sigmoid(network.logits(features))) for features in histories]
    return float(np.mean(equal)) if equal else 0.0


def _fitted_chance(network: Network, lesson: _Lesson) -> Chance | None:
    """Fitted on visits in the first half of the validation span: the horizon of the last one ends with the span."""
    if lesson.clockless:
        return None
    config, window = lesson.config, lesson.spans.validation[1]
    visited = Visited(lesson.past, lesson.validation[1], window.start, window.end - window.start, lesson.cut)
    return fit_chance(network, visited, people=config.histories, seed=config.seed)


def _checked_chance(chance: Chance, network: Network, universe: Universe, lesson: _Lesson) -> dict[str, Any] | None:
    config = lesson.config
    visited = Visited(lesson.log, universe, lesson.cut, chance.horizon, int(lesson.log.occurred.max()) + 1)
    return check_chance(chance, network, visited, people=config.histories, seed=config.seed)
