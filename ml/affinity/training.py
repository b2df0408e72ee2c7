"""Training of the affinity model: look back at earlier moments, fit a ranker to them, export it, evaluate it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity import export, model
from ml.affinity.baseline_networks import baseline_network, baseline_universe
from ml.affinity.chance_fitting import Visited, check_chance, fit_chance
from ml.affinity.chances import Chance
from ml.affinity.cold_candidates import fit_cold_chance
from ml.affinity.config import DEFAULT, TrainingConfig
from ml.affinity.contests import MakeMethods, contests
from ml.affinity.looking_back import CutLog, look_back, training_spans, with_validation
from ml.affinity.methods import ranker_method
from ml.affinity.model import AffinityModel
from ml.affinity.network import Network
from ml.affinity.ranking import Ranker
from ml.affinity.refreshing import as_of_cut, with_tables
from ml.affinity.validation_lists import validation_lists
from ml.affinity.variants import (
    RANKER,
    Ready,
    best_with_sequence,
    choose_epochs,
    fitted_models,
    popular_first,
    refitted,
)
from ml.baselines.item_tables import LastState
from ml.baselines.methods import BASELINES, baseline_methods
from ml.clockless import is_clockless
from ml.cold_items import ColdItems
from ml.evaluation import Contest, Evaluation, Method, evaluate
from ml.interest import Interest
from ml.keras_versions import keras_versions
from ml.log import Log, NothingToLearn
from ml.provenance import code_identity, data_identity, weights_identity
from ml.rfm import rfm_edges
from ml.sequence.lessons import may_help
from ml.snapshot import best_supported, snapshot, with_complements
from ml.splits import holdout_cut, windows_after
from ml.texts.learning import as_of_now, learned_projection
from ml.texts.likeness import Support, cold_items
from ml.trainers import ReportProgress
from ml.universe import Universe

SERVED = "served"  # the method of a baseline as it serves: among the same candidates, without resting items
_PACKAGES = {"numpy": np.__version__, **keras_versions()}


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

    The test span is cut in windows, and everybody's tables are rebuilt as of the start of each, as they are in serving.
    `rivals` are versions to compare with, by name, each with its weights and the same tables. One that learned from
    lines after the cut knows more than the others here.

    Without a cut the last `config.holdout` days of the log are for evaluation; more where few people came back in them,
    and then all windows are longer in proportion. Where nobody came back for anything that could be foretold, nothing
    is fitted: the model is popularity, with the tables of what is alike and what belongs together. Raises
    `NothingToLearn` when there are no purchases before the cut, and `ExportDiffers`.
    """
    log.require_lines()
    clockless = is_clockless(log.between(None, cut))
    if cut is None:
        cut = holdout_cut(log, config.holdout)
        config = config.for_span(int(log.occurred.max()) + 1 - cut)
    origin = {
        "seed": config.seed,
        "settings": asdict(config),
        "code": code_identity(_PACKAGES),
        "data": data_identity(log, cut),
    }
    learned = _learn(log, cut, config, report, clockless=clockless)
    cut_log, network = learned.cut_log, learned.ready.network
    universe = learned.universe.with_cold(_cold_items(log, cut_log, report))
    evaluation = _evaluate(log, learned._replace(universe=universe), rivals, report)
    chance = _fitted_chance(learned.ready.validated, cut_log)
    id_of = dict(zip(cut_log.log.numbers.tolist(), cut_log.log.item_ids, strict=True))
    net = universe.sequence.parts().values() if universe.sequence else ()
    weights = weights_identity((*network.kernels, *network.biases, *net))
    return TrainedAffinity(
        universe,
        network,
        [id_of[number] for number in cut_log.numbers.tolist()],
        rfm_edges(cut_log.past, cut),
        evaluation,
        learned.ready.parity,
        {**origin, **learned.choices(), "weights_sha256": weights},
        partial(_baseline, whole=log, cut_log=learned.plain),
        _checked_chance(chance, network, universe, cut_log) if chance else None,
        chance=chance,
    )


class _Learned(NamedTuple):
    """What was learned from the lines before the cut."""

    ready: Ready
    universe: Universe  # as of the cut; with the sequence net, where that is a part of the model
    cut_log: CutLog  # so are its universes
    tables: Universe  # the same universe without the sequence net
    plain: CutLog  # the same log without it
    sequence: dict[str, Any] | None  # what became of the sequence net; None where none was fitted

    def choices(self) -> dict[str, Any]:
        """What `training.json` says of it."""
        cut_log, choice = self.cut_log, self.ready.choice
        return {
            "evidence": Interest.read(self.tables.interest).document(),
            **({} if self.sequence is None else {"sequence": self.sequence}),
            "validation": {
                "from": cut_log.spans.validation_start,
                "until": cut_log.cut,
                "people": choice.people,
                "ndcg_at_10": choice.ndcg,
                "epochs": choice.name,
            },
        }


def _learn(log: Log, cut: int, config: TrainingConfig, report: ReportProgress, *, clockless: bool) -> _Learned:
    """Look back, fit the ranker, choose on the validation span, and fit the ranker once more if it was chosen."""
    numbers = best_supported(log.between(None, cut).kept, config.item_limit)
    log = log.of_items(numbers)
    past = log.between(None, cut)
    if not len(past):
        raise NothingToLearn("There are no purchases before the cut.")
    spans = training_spans(past, cut, config, clockless=clockless)
    lists, validation = look_back(past, numbers, spans, config, report, clockless)
    plain = CutLog(log, past, numbers, cut, spans, validation, config, clockless)
    tables = with_complements(snapshot(past, numbers, cut, clockless=clockless), past, cut)
    if not len(lists):
        return _Learned(popular_first(), tables, plain, tables, plain, None)
    chosen = choose_epochs(fitted_models(lists, config, report, clockless), plain)
    universe, cut_log, ready, sequence = tables, plain, None, None
    if spans.training and may_help(past):
        universe, cut_log, ready, sequence = best_with_sequence(tables, plain, chosen, report)
    if ready is None:
        lists = with_validation(lists, cut_log)
        ready = refitted(lists, chosen, universe, cut_log, report)
    return _Learned(ready, universe, cut_log, tables, plain, sequence)


def _evaluate(whole: Log, learned: _Learned, rivals: Mapping[str, AffinityModel], report: ReportProgress) -> Evaluation:
    """The ranker beside the baselines and rivals, on the orders after the cut; `whole` has the lines of all items."""
    cut_log, ready = learned.cut_log, learned.ready
    states, candidate = LastState(), Ranker(learned.universe, ready.network)

    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        cold = as_of_now(learned.universe.cold, whole.words, universe.numbers, support, alternatives=False)
        models = {RANKER: with_tables(candidate, universe.with_cold(cold))}
        models |= {name: as_of_cut(rival, past, universe, support) for name, rival in rivals.items()}
        served = {name: ranker_method(each, states, clockless=cut_log.clockless) for name, each in models.items()}
        return served | baseline_methods(past, universe, read_state=states)

    return evaluate(
        whole,
        cut_log.cut,
        _contests(whole, cut_log, methods, learned.tables),
        candidate=RANKER,
        baselines=BASELINES,
        seed=cut_log.config.seed,
        report=lambda done, of: report("evaluating", done, of),
        tied=ready.tied,
        rivals=tuple(rivals),
    )


def _contests(whole: Log, cut_log: CutLog, methods: MakeMethods, first: Universe) -> Iterator[Contest]:
    config = cut_log.config
    windows = windows_after(whole, cut_log.cut, config.test_windows)
    return contests(whole, windows, methods, item_limit=config.item_limit, clockless=cut_log.clockless, first=first)


def _baseline(refused: TrainedAffinity, report: ReportProgress, *, whole: Log, cut_log: CutLog) -> TrainedAffinity:
    """The best baseline of the evaluation as a model of the same items, evaluated as it would serve."""
    name = refused.evaluation.best_baseline
    tables = replace(refused.universe, sequence=None)
    universe = baseline_universe(name, cut_log.past, tables)
    network = baseline_network(name)
    latest, config = cut_log.spans.validation[0], cut_log.config
    then = baseline_universe(name, cut_log.past.between(None, latest.start), cut_log.validation[0])
    lists = validation_lists(cut_log.past, then, latest, config.validated, config.seed)
    network = export.calibrated(network, *lists.calibration(network))

    def methods(past: Log, universe: Universe, support: Support) -> dict[str, Method]:
        cold = as_of_now(refused.universe.cold, whole.words, universe.numbers, support, alternatives=False)
        served = Ranker(baseline_universe(name, past, universe.with_cold(cold)), network)
        return {SERVED: ranker_method(served, clockless=cut_log.clockless)}

    served = evaluate(
        whole,
        cut_log.cut,
        _contests(whole, cut_log, methods, tables),
        candidate=SERVED,
        baselines=(),
        seed=config.seed,
        report=lambda done, of: report("evaluating the best baseline", done, of),
    )
    evaluation = replace(served, methods=served.methods | refused.evaluation.methods, baseline=name)
    plain: dict[str, Any] = {"parity": 0.0, "checked_chance": None, "chance": None}
    return replace(refused, universe=universe, network=network, evaluation=evaluation, **plain)


def _cold_items(whole: Log, cut_log: CutLog, report: ReportProgress) -> ColdItems | None:
    """The cold items as of the cut, with the chance that such items had in the last validation window.

    The projection of their words is learned from what is before that window. `whole` has the lines of all items.
    """
    config, window, numbers = cut_log.config, cut_log.spans.validation[0], cut_log.numbers
    report("reading the texts of items", 0, 1)
    projection = learned_projection(whole, numbers, window.start, config.seed)
    if projection is None or whole.words is None or cut_log.clockless:
        return None
    known = whole.between(None, cut_log.cut)
    found = cold_items(projection, whole.words, numbers, Support.of(known, config.item_limit))
    support = Support.of(known.between(None, window.start), config.item_limit)
    then = cold_items(projection, whole.words, numbers, support, alternatives=False)
    if found is not None and then is not None:
        fitted = fit_cold_chance(known, cut_log.validation[0], then, window, people=config.validated, seed=config.seed)
        found = found if fitted is None else found.with_chance(*fitted)
    report("reading the texts of items", 1, 1)
    return found


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
