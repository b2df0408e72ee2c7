"""Learning from a made-up shop; the only tests of the brain that load TensorFlow."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from ml.baskets import first_baskets
from ml.bundle import Bundle
from ml.evaluation import RANKER
from ml.gate import verdict
from ml.log import Log, NothingToLearn
from ml.ranking import Ranked, rank, rank_with
from ml.state import State

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.export import ExportDiffers, calibrated, check_parity, exported
    from ml.ranker import ranker, ranking_loss
    from ml.training import Trained, TrainingConfig, moments, train

MakeLog = Callable[..., Log]
DAY = 86_400
BRIEF = TrainingConfig(item_limit=80, cuts=3, epochs=6, batch=16, list_length=64)


def ignored(stage: str, done: int, of: int) -> None:
    """Progress nobody looks at."""


def brief(log: Log, cut: int | None = None, epochs: int = BRIEF.epochs) -> Trained:
    return train(log, cut, replace(BRIEF, epochs=epochs), ignored)


@pytest.fixture(scope="module")
def trained() -> Callable[[Log], Trained]:
    """The made-up shop learnt once for this module."""
    learnt: list[Trained] = []

    def once(log: Log) -> Trained:
        if not learnt:
            learnt.append(brief(log))
        return learnt[0]

    return once


def test_a_brief_training_beats_popularity(make_log: MakeLog, trained: Callable[[Log], Trained]) -> None:
    evaluation = trained(make_log()).evaluation
    assert evaluation.people > 40
    assert evaluation.ahead["popularity"].low > 0
    assert evaluation.methods[RANKER]["recall_at_10"].value > 0.5
    assert verdict(evaluation).promote == (evaluation.ahead["personal_frequency"].value > 0)


def test_a_trained_bundle_serves(make_log: MakeLog, trained: Callable[[Log], Trained], tmp_path: Path) -> None:
    log = make_log()
    opened = Bundle.open(trained(log).write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))
    state, now = log.state(3, int(log.occurred.max()) + DAY), int(log.occurred.max()) + DAY
    ranked = rank(
        opened,
        state,
        as_of=now,
        allowed=np.ones(81, np.bool_),
        context=np.empty(0, np.uint32),
        popular=opened.popular,
        first=10,
    )
    favourites = set(state.items["item"][np.argsort(-state.items["lines"])[:6]].tolist())
    assert len(favourites & set(ranked.numbers.tolist())) >= 4
    assert opened.item_ids == [f"item {number}" for number in opened.numbers]
    assert opened.evaluation["people"] == trained(log).evaluation.people
    assert opened.rfm_edges.shape == (3, 4)


def test_the_same_log_and_seed_train_the_same_model(make_log: MakeLog) -> None:
    one, other = (brief(make_log(people=20), epochs=2) for _ in range(2))
    np.testing.assert_allclose(one.network.kernels[0], other.network.kernels[0], rtol=1e-4, atol=1e-6)
    assert one.evaluation.methods[RANKER] == other.evaluation.methods[RANKER]


def test_what_comes_after_the_cut_is_judged_by_and_never_learnt_from(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(people=20), now - 60 * DAY
    other = np.where(log.occurred >= cut, (log.item + 7) % 80 + 1, log.item).astype(np.uint32)
    one, changed = brief(log, cut, epochs=1), brief(replace(log, item=other), cut, epochs=1)
    np.testing.assert_array_equal(one.universe.near, changed.universe.near)
    np.testing.assert_array_equal(one.network.kernels[0], changed.network.kernels[0])
    assert one.evaluation.methods[RANKER] != changed.evaluation.methods[RANKER]


def test_every_horizon_ends_before_the_cut_however_short_the_log(make_log: MakeLog, now: int) -> None:
    log = make_log()
    for days in (2, 30, 364):
        short = log.between(now - days * DAY, None)
        for earlier, end in moments(short, now, BRIEF):
            assert int(short.occurred.min()) < earlier < end <= now


def test_the_export_ranks_like_keras(make_log: MakeLog) -> None:
    random = np.random.default_rng(0)
    model = ranker(np.full(21, 2.0), np.full(21, 9.0), (64, 32))
    histories = [random.normal(2, 3, (size, 21)).astype(np.float32) for size in (1, 7, 500)]
    network = exported(model)
    assert check_parity(model, calibrated(network, 1.5, -2.0), 1.5, -2.0, histories) < 1e-4
    wrong = replace(network, biases=(network.biases[0] + 0.05, *network.biases[1:]))
    with pytest.raises(ExportDiffers):
        check_parity(model, calibrated(wrong, 1.5, -2.0), 1.5, -2.0, histories)


def test_a_model_of_nan_is_never_exported() -> None:
    model = ranker(np.full(21, 2.0), np.full(21, 9.0), (4,))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(ExportDiffers):
        check_parity(model, exported(model), 1.0, 0.0, [np.zeros((3, 21), np.float32)])


def test_padding_counts_for_nothing_in_the_loss() -> None:
    labels = np.array([[1.0, 0.0, 0.0]], np.float32)
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    padded_labels = np.concatenate([labels, np.full((1, 4), -1, np.float32)], axis=1)
    padded_logits = np.concatenate([logits, np.full((1, 4), 30, np.float32)], axis=1)
    np.testing.assert_allclose(ranking_loss(padded_labels, padded_logits), ranking_loss(labels, logits), rtol=1e-5)


def test_scores_are_near_to_how_often_things_are_bought(make_log: MakeLog, trained: Callable[[Log], Trained]) -> None:
    log, model = make_log(), trained(make_log())
    cut = model.evaluation.cut
    baskets = first_baskets(log, cut)
    told, bought = 0.0, 0
    for index, person in enumerate(baskets.people.tolist()):
        ranked = rank_all(model, log.state(person, cut), cut)
        told += float(ranked.scores.sum())
        bought += int(np.isin(ranked.numbers, baskets[index]).sum())
    assert told == pytest.approx(bought, rel=0.35)


def rank_all(model: Trained, state: State, as_of: int) -> Ranked:
    return rank_with(
        model.universe,
        model.network,
        state,
        as_of=as_of,
        allowed=np.ones(81, np.bool_),
        context=np.empty(0, np.uint32),
        popular=model.universe.numbers[model.universe.popular],
        first=80,
    )


def test_an_empty_log_is_refused(make_log: MakeLog) -> None:
    with pytest.raises(NothingToLearn, match="empty"):
        brief(make_log().between(0, 1))


def test_a_cut_before_all_purchases_is_refused(make_log: MakeLog) -> None:
    with pytest.raises(NothingToLearn, match="before the cut"):
        brief(make_log(), cut=1)


def test_people_who_never_come_back_teach_nothing(make_log: MakeLog) -> None:
    with pytest.raises(NothingToLearn, match="came back"):
        brief(make_log(orders=1))


def test_a_catalogue_of_one_item_makes_a_bundle(make_log: MakeLog, tmp_path: Path) -> None:
    trained = brief(make_log(people=10, items=1), epochs=1)
    assert Bundle.open(trained.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))).item_ids == ["item 1"]
    assert not verdict(trained.evaluation).promote


def test_one_person_makes_a_bundle(make_log: MakeLog, tmp_path: Path) -> None:
    trained = brief(make_log(people=1, orders=60), epochs=1)
    assert trained.evaluation.people == 1
    Bundle.open(trained.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))


def test_a_log_about_unknown_items_is_refused(make_log: MakeLog) -> None:
    log = make_log(people=2)
    columns = {name: getattr(log, name) for name in ("person", "item", "occurred", "cents", "order")}
    with pytest.raises(InvalidInput, match="does not have"):
        Log.of(people=log.people, numbers=log.numbers[:3], item_ids=log.item_ids[:3], **columns)
