"""Training of the affinity model: look back at earlier moments, fit a ranker to them, export it, evaluate it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ml.affinity import export, model
from ml.affinity.baseline_networks import baseline_network, baseline_universe
from ml.affinity.chance_fitting import Visited, check_chance, fit_chance
from ml.affinity.chances import Chance
from ml.affinity.config import DEFAULT, TrainingConfig
from ml.affinity.looking_back import CutLog, look_back, training_spans
from ml.affinity.methods import ranker_method
from ml.affinity.model import AffinityModel
from ml.affinity.network import Network
from ml.affinity.ranking import Ranker
from ml.affinity.refreshing import as_of_cut
from ml.affinity.validation_lists import validation_lists
from ml.affinity.variants import RANKER, best_with_sequence, fitted_models, ready_to_serve
from ml.baselines.item_tables import LastState
from ml.baselines.methods import BASELINES, baseline_methods
from ml.clockless import is_clockless
from ml.evaluation import Evaluation, evaluate
from ml.interest import Interest
from ml.log import Log, NothingToLearn
from ml.provenance import code_identity, data_identity, weights_identity
from ml.rfm import rfm_edges
from ml.sequence.lessons import may_help
from ml.snapshot import best_supported, snapshot, with_complements
from ml.splits import holdout_cut
from ml.trainers import ReportProgress
from ml.universe import Universe

SERVED = "served"  # the method of a baseline as it serves: among the same candidates, without resting items
_PACKAGES = {"numpy": np.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}


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
    lists, validation = look_back(past, numbers, spans, config, report, clockless)
    cut_log = CutLog(log, past, numbers, cut, spans, validation, config, clockless)
    fitted = fitted_models(lists, config, report, clockless)
    del lists
    universe = with_complements(snapshot(past, numbers, cut, clockless=clockless), past, cut)
    training["evidence"] = Interest.read(universe.interest).document()
    plain, ready = cut_log, ready_to_serve(fitted, universe, cut_log)
    if spans.training and may_help(past):
        universe, cut_log, ready, training["sequence"] = best_with_sequence(universe, cut_log, ready, report)
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
    chance = _fitted_chance(network, cut_log)
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
        partial(_baseline, cut_log=plain),
        _checked_chance(chance, network, universe, cut_log) if chance else None,
        chance=chance,
    )


def _baseline(refused: TrainedAffinity, report: ReportProgress, *, cut_log: CutLog) -> TrainedAffinity:
    """The best baseline of the evaluation as a model of the same items, evaluated as it would serve."""
    name = refused.evaluation.best_baseline
    universe = baseline_universe(name, cut_log.past, replace(refused.universe, sequence=None))
    network = baseline_network(name)
    latest, config = cut_log.spans.validation[0], cut_log.config
    then = baseline_universe(name, cut_log.past.between(None, latest.start), cut_log.validation[0])
    lists = validation_lists(cut_log.past, then, latest, config.validated, config.seed)
    network = export.calibrated(network, *lists.calibration(network))
    served = evaluate(
        cut_log.log,
        universe.numbers,
        cut_log.cut,
        {SERVED: ranker_method(Ranker(universe, network), clockless=cut_log.clockless)},
        candidate=SERVED,
        baselines=(),
        seed=config.seed,
        report=lambda done, of: report("evaluating the best baseline", done, of),
    )
    methods = served.methods | refused.evaluation.methods
    evaluation = replace(served, methods=methods, baseline=name)
    plain: dict[str, Any] = {"parity": 0.0, "checked_chance": None, "chance": None}
    return replace(refused, universe=universe, network=network, evaluation=evaluation, **plain)


def _fitted_chance(network: Network, cut_log: CutLog) -> Chance | None:
    """Fitted on visits in the first half of the validation span: the horizon of the last one ends with the span."""
    if cut_log.clockless:
        return None
    config, window = cut_log.config, cut_log.spans.validation[1]
    visited = Visited(cut_log.past, cut_log.validation[1], window.start, window.end - window.start, cut_log.cut)
    return fit_chance(network, visited, people=config.histories, seed=config.seed)


def _checked_chance(chance: Chance, network: Network, universe: Universe, cut_log: CutLog) -> dict[str, Any] | None:
    config = cut_log.config
    visited = Visited(cut_log.log, universe, cut_log.cut, chance.horizon, int(cut_log.log.occurred.max()) + 1)
    return check_chance(chance, network, visited, people=config.histories, seed=config.seed)
