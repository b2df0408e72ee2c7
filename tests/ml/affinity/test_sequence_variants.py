"""Where people rarely buy the same again, the sequence net is tried: alone, and as evidence of the ranker."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ml.affinity.baseline_networks import SEQUENCE, baseline_network
from ml.affinity.candidates import gather_evidence
from ml.affinity.methods import ranker_method
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import Ranker
from ml.affinity.refreshing import refreshed
from ml.baselines.sequence_net import sequence_net
from ml.gate import verdict
from ml.log import Log
from ml.metrics import ndcg
from ml.sequence.config import config_for
from ml.sequence.lessons import lesson_of
from ml.snapshot import best_supported, snapshot

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import TrainedAffinity, train
    from ml.affinity.variants import RANKER
    from ml.sequence.training import train_sequence

MakeLog = Callable[..., Log]


def ignored(stage: str, done: int, of: int) -> None:
    """Progress that no test reads."""


@pytest.fixture(scope="module")
def log(make_sequences: MakeLog) -> Log:
    return make_sequences(people=700)


@pytest.fixture(scope="module")
def trained(log: Log) -> TrainedAffinity:
    return train(log, None, ignored, TrainingConfig(cuts=2, models=1, epochs=2, lists_limit=400, list_length=48))


@pytest.fixture(scope="module")
def with_net(log: Log, trained: TrainedAffinity) -> TrainedAffinity:
    """The same with a sequence net that serves alone."""
    cut, numbers = int(log.occurred.max()), trained.universe.numbers
    lesson = lesson_of(log.between(None, cut - 60), log, numbers, cut - 60, cut, seed=1)
    brief = replace(config_for(lesson.histories, len(numbers), 1), epochs=4)
    blend = train_sequence(lesson, lambda done, of: None, 1, brief).blend
    return replace(trained, universe=replace(trained.universe, sequence=blend), network=baseline_network(SEQUENCE))


def test_what_foretells_the_validation_best_serves(trained: TrainedAffinity) -> None:
    tried = trained.training["sequence"]
    assert set(tried["ndcg_at_10"]) == {"ranker", "sequence_net", "ranker_with_sequence"}
    assert tried["people"] == 700
    assert tried["ndcg_at_10"][tried["variant"]] > tried["ndcg_at_10"]["ranker"] - 0.02
    scores = trained.evaluation.methods
    assert scores[RANKER]["ndcg_at_10"].value >= scores["sequential_rules"]["ndcg_at_10"].value - 0.02
    assert trained.parity < 1e-4
    assert verdict(trained.evaluation).reason


def test_a_bundle_with_a_net_serves_the_same_lists(log: Log, with_net: TrainedAffinity, tmp_path: Path) -> None:
    trained = with_net
    opened = AffinityModel.open(trained.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))
    assert opened.universe.sequence is not None
    as_of = int(log.occurred.max())
    ours, theirs = (ranker_method(Ranker(each.universe, each.network), clockless=True) for each in (trained, opened))
    for person in range(20):
        history = log.history(person, as_of)
        found = theirs(history, as_of)
        assert (found == ours(history, as_of)).all()
        assert not np.isin(history["item"], found).any(), "nobody buys an item again here"
    fresh = refreshed(opened, log.where(log.item != 7), as_of + 60).universe
    assert fresh.sequence is not None, "the net is part of the weights"
    assert fresh.sequence.items == len(fresh.numbers) == 59


def test_the_net_speaks_for_what_follows_a_persons_last_items(log: Log, with_net: TrainedAffinity) -> None:
    trained, as_of = with_net, int(log.occurred.max())
    state = log.state(3, as_of)
    said = gather_evidence(trained.universe, state, as_of).said["sequence"]
    newest = int(state.bought["item"][state.bought["last"].argmax()])
    assert said.of(trained.universe.rows(np.array([newest % 60 + 1])))[0] > 1
    assert said.of(np.array([len(trained.universe.numbers)], np.int32))[0] == 0
    nobody = gather_evidence(trained.universe, log.state(3, int(log.occurred.min())), as_of).said["sequence"]
    assert not len(nobody.rows)
    without = gather_evidence(snapshot(log, trained.universe.numbers, as_of, clockless=True), state, as_of)
    assert not len(without.said["sequence"].rows)


@pytest.mark.timeout(300)
def test_the_net_can_be_compared_with_other_methods(log: Log) -> None:
    cut = int(log.occurred.max())
    past = log.between(None, cut)
    numbers = best_supported(past, 60)
    method = sequence_net(past, snapshot(past, numbers, cut, clockless=True))
    found = []
    for person in range(0, 700, 3):
        history = log.history(person, cut)
        bought = log.item[(log.person == person) & (log.occurred >= cut)]
        ranked = method(history, cut)
        assert not np.isin(history["item"], ranked).any()
        found.append(ndcg(np.isin(ranked, bought), 1))
    assert np.mean(found) > 0.4
