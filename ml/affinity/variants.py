"""The networks that may serve: the fitted ranker, the sequence net alone, and a ranker that knows the net's scores.

The validation span chooses after how many epochs a ranker's weights are taken, calibrates its scores, and chooses
between the three. Where the ranker is chosen it is fitted once more, to the lists of that span too: the newest orders
before the cut tell most of what comes after it. The choice and the calibration stay as they were.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from ml.affinity import export, fitting
from ml.affinity.baseline_networks import SEQUENCE, baseline_network, without_learned_views
from ml.affinity.config import TrainingConfig
from ml.affinity.looking_back import CutLog
from ml.affinity.network import Network, averaged, sigmoid
from ml.affinity.pair_features import BY_CLOCK
from ml.affinity.sequence_lists import learn_sequence
from ml.affinity.training_lists import TrainingLists, candidate_features
from ml.affinity.validation_lists import validation_lists
from ml.choosing import Choice, best_of
from ml.metrics import tied
from ml.sequence.export import SequenceExportDiffers
from ml.trainers import ReportProgress
from ml.universe import Universe

RANKER = "ranker"  # the model's name among the evaluated methods, and as a variant
RANKER_WITH_SEQUENCE = "ranker_with_sequence"  # a variant
CHOSEN_ON = 2_000  # people of the validation span, for the choice between rankers and the sequence net


class Chosen(NamedTuple):
    """A network that was not fitted to the validation span, and what that span chose."""

    network: Network  # calibrated
    models: list[keras.Model]  # the same, one by one and not calibrated
    choice: Choice  # of the epochs
    slope: float  # of the calibration
    shift: float


class Ready(NamedTuple):
    """A network that may serve."""

    network: Network
    parity: float  # largest difference of a probability between Keras and the export
    tied: float  # mean share of the first ten scores that equal another one there
    choice: Choice  # of the epochs
    validated: Network  # the one that was chosen and calibrated: not fitted to the validation span


def fitted_models(
    lists: TrainingLists,
    config: TrainingConfig,
    report: ReportProgress,
    clockless: bool,
    stops: Sequence[int] | None = None,
) -> list[fitting.Fitted]:
    """Models that differ by their seed alone; the mean of their logits serves.

    Weights are kept after each number of epochs of `stops`; by default those of the settings.
    """
    stops = stops or [max(1, round(share * config.epochs)) for share in config.stops]
    epochs = config.epochs * config.models
    report("fitting the ranker", 0, epochs)

    def fitted(index: int) -> fitting.Fitted:
        return fitting.fit(
            lists,
            hidden=config.hidden,
            epochs=config.epochs,
            last=max(stops),
            stops=stops,
            batch=config.batch,
            learning_rate=config.learning_rate,
            seed=config.seed + index,
            epoch_done=lambda done: report("fitting the ranker", index * config.epochs + done, epochs),
            ignored=BY_CLOCK if clockless else (),
        )

    return [fitted(index) for index in range(config.models)]


def best_with_sequence(
    universe: Universe, cut_log: CutLog, chosen: Chosen, report: ReportProgress
) -> tuple[Universe, CutLog, Ready | None, dict[str, Any]]:
    """The best of three on the validation span: the ranker, the sequence net alone, a ranker that knows its scores.

    None in place of the network where the ranker is the best. A net that cannot be exported, such as one whose loss
    became NaN, changes nothing.
    """
    config, latest = cut_log.config, cut_log.spans.validation[0]
    try:
        windows = (cut_log.past, cut_log.numbers, cut_log.spans, cut_log.clockless)
        learned = learn_sequence(*windows, config.list_length, config.lists_limit, config.seed, report)
    except SequenceExportDiffers as error:
        return universe, cut_log, None, {"variant": RANKER, "failed": str(error)}
    lists = validation_lists(cut_log.past, cut_log.validation[0], latest, CHOSEN_ON, config.seed)
    values = {RANKER: lists.ndcg(chosen.network)}
    blend, fitted_as = learned.trained.blend, learned.trained.config
    cut_log_with_net = cut_log._replace(validation=[replace(each, sequence=blend) for each in cut_log.validation])
    universe_with_net = replace(universe, sequence=blend)
    lists = validation_lists(cut_log.past, cut_log_with_net.validation[0], latest, CHOSEN_ON, config.seed)
    alone = baseline_network(SEQUENCE)
    alone = export.calibrated(alone, *lists.calibration(alone))
    tied_scores = _tied(alone, _histories(universe_with_net, cut_log_with_net))
    variants: dict[str, Ready | None] = {
        RANKER: None,
        SEQUENCE: Ready(alone, learned.trained.parity, tied_scores, chosen.choice, alone),
    }
    if len(learned.lists):
        chosen_with_net = choose_epochs(
            fitted_models(learned.lists, config, report, cut_log.clockless), cut_log_with_net
        )
        ready = ready_to_serve(chosen_with_net.models, chosen_with_net, universe_with_net, cut_log_with_net)
        variants[RANKER_WITH_SEQUENCE] = ready._replace(parity=max(ready.parity, learned.trained.parity))
    choice = best_of(values | {name: lists.ndcg(each.network) for name, each in variants.items() if each})
    outcome = {"variant": choice.name, "ndcg_at_10": choice.ndcg, "people": choice.people}
    if choice.name == RANKER:
        return universe, cut_log, None, outcome
    if choice.name == SEQUENCE:
        universe_with_net = without_learned_views(universe_with_net)
    return (
        universe_with_net,
        cut_log_with_net,
        variants[choice.name],
        outcome | {"settings": asdict(fitted_as), "rules_weight": blend.weight},
    )


def choose_epochs(fitted: list[fitting.Fitted], cut_log: CutLog) -> Chosen:
    """The validation span chooses after how many epochs the weights are taken, and calibrates the scores."""
    config, latest = cut_log.config, cut_log.spans.validation[0]
    lists = validation_lists(cut_log.past, cut_log.validation[0], latest, config.validated, config.seed)
    networks = {
        epochs: averaged([export.exported(each.after(epochs)) for each in fitted]) for epochs in fitted[0].stops
    }
    choice = best_of({str(epochs): lists.ndcg(network) for epochs, network in networks.items()})
    epochs = int(choice.name)
    slope, shift = lists.calibration(networks[epochs])
    models = [each.after(epochs) for each in fitted]
    return Chosen(export.calibrated(networks[epochs], slope, shift), models, choice, slope, shift)


def refitted(
    lists: TrainingLists, chosen: Chosen, universe: Universe, cut_log: CutLog, report: ReportProgress
) -> Ready:
    """The chosen ranker, fitted to the lists of the training windows and of the validation span alike."""
    fitted = fitted_models(lists, cut_log.config, report, cut_log.clockless, [int(chosen.choice.name)])
    return ready_to_serve([each.model for each in fitted], chosen, universe, cut_log)


def popular_first() -> Ready:
    """What stands for a ranker that has no list to learn from: the gate refuses it, since it is a baseline."""
    network = baseline_network("popularity")
    return Ready(network, 0.0, 0.0, Choice("0", {}, 0), network)


def ready_to_serve(models: list[keras.Model], chosen: Chosen, universe: Universe, cut_log: CutLog) -> Ready:
    """The mean of the models as a network, calibrated as was chosen, with its largest difference from them."""
    network = averaged([export.exported(each) for each in models])
    network = export.calibrated(network, chosen.slope, chosen.shift)
    histories = _histories(universe, cut_log)
    parity = export.check_parity(fitting.average(models), network, chosen.slope, chosen.shift, histories)
    return Ready(network, parity, _tied(network, histories), chosen.choice, chosen.network)


def _histories(universe: Universe, cut_log: CutLog) -> list[NDArray[np.float32]]:
    """The candidate lists of some people as of the cut."""
    random = np.random.default_rng(cut_log.config.seed)
    people = random.permutation(np.unique(cut_log.past.person))[: cut_log.config.histories].tolist()
    found = (candidate_features(cut_log.past, universe, person, cut_log.cut) for person in people)
    return [each.features for each in found if each]


def _tied(network: Network, histories: list[NDArray[np.float32]]) -> float:
    equal = [tied(sigmoid(network.logits(features))) for features in histories]
    return float(np.mean(equal)) if equal else 0.0
