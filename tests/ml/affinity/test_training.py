"""Training on a synthetic shop; the only tests of `ml` that load TensorFlow."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidInput
from ml import splits
from ml.affinity.bought_together import bought_together
from ml.affinity.calibration import platt
from ml.affinity.model import AffinityModel
from ml.affinity.pair_features import FEATURES
from ml.affinity.ranking import Ranker, rank
from ml.affinity.similar import similar
from ml.affinity.training_lists import TrainingLists
from ml.baselines.methods import BASELINES, COUNTS, baseline_methods
from ml.baskets import first_baskets
from ml.evaluation import Score
from ml.fallback import Fallback
from ml.gate import verdict
from ml.log import Log, NothingToLearn
from ml.masks import mask_of
from ml.provenance import data_identity
from ml.ranked import Ranked
from ml.rests import resting
from ml.state import State
from ml.trainers import trainer_for
from ml.words import ItemText, ItemWords

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.affinity.config import TrainingConfig
    from ml.affinity.export import ExportDiffers, calibrated, check_parity, exported
    from ml.affinity.fitting import average, build_ranker, fit, lambda_loss, ranking_loss
    from ml.affinity.looking_back import training_spans
    from ml.affinity.network import averaged
    from ml.affinity.training import TrainedAffinity, train
    from ml.affinity.variants import RANKER

MakeLog = Callable[..., Log]
DAY = 86_400
WIDTH = len(FEATURES)
BEST = {"ndcg_at_10": Score(1, 1, 1)}
EVERYTHING = mask_of(np.arange(1, 81, dtype=np.uint32))
BRIEF = TrainingConfig(item_limit=80, cuts=3, models=1, epochs=6, batch=16, list_length=64)


def ignored(stage: str, done: int, of: int) -> None:
    """Progress that no test reads."""


def brief(log: Log, cut: int | None = None, epochs: int = BRIEF.epochs) -> TrainedAffinity:
    return train(log, cut, ignored, replace(BRIEF, epochs=epochs))


@pytest.fixture(scope="module")
def trained() -> Callable[[Log], TrainedAffinity]:
    """The synthetic shop, trained on once for this module."""
    learnt: list[TrainedAffinity] = []

    def once(log: Log) -> TrainedAffinity:
        if not learnt:
            learnt.append(brief(log))
        return learnt[0]

    return once


def test_a_brief_training_beats_popularity(make_log: MakeLog, trained: Callable[[Log], TrainedAffinity]) -> None:
    evaluation = trained(make_log()).evaluation
    assert evaluation.people > 40
    assert evaluation.ahead["popularity"].low > 0
    assert evaluation.methods[RANKER]["recall_at_10"].value > 0.5
    assert not verdict(evaluation).promote, "60 people are too few"


def test_a_trained_bundle_serves(make_log: MakeLog, trained: Callable[[Log], TrainedAffinity], tmp_path: Path) -> None:
    log = make_log()
    opened = AffinityModel.open(trained(log).write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))
    state, now = log.state(3, int(log.occurred.max()) + DAY), int(log.occurred.max()) + DAY
    ranked = rank(
        opened,
        state,
        as_of=now,
        allowed=EVERYTHING,
        context=np.empty(0, np.uint32),
        fallback=Fallback.popular(opened.popular),
        first=10,
    )
    favourites = set(state.items["item"][np.argsort(-state.items["lines"])[:6]].tolist())
    assert len(favourites & set(ranked.numbers.tolist())) >= 4
    assert opened.item_ids == [f"item {number}" for number in opened.numbers]
    assert opened.evaluation["people"] == trained(log).evaluation.people
    assert opened.rfm_edges.shape == (3, 4)
    known = ranked.probabilities
    assert ((known > 0) & (known < 1)).all()
    assert opened.chance is not None
    assert 14 * DAY < opened.chance.horizon <= np.ptp(log.occurred) / 5, "of so few people, windows are longer"


def test_items_never_sold_are_beside_the_others_with_the_chance_of_those_first_sold_lately(make_log: MakeLog) -> None:
    log = make_log()
    cut = int(log.occurred.max()) - 28 * DAY
    log = log.where((log.item > 20) | (log.occurred >= cut - 14 * DAY))
    texts = {number: ItemText(f"{number % 4} of this and that") for number in range(1, 91)}
    found = brief(replace(log, words=ItemWords.of(texts)), cut, epochs=1).universe.cold
    assert found is not None
    sold = np.unique(log.between(None, cut).item)
    np.testing.assert_array_equal(found.numbers, np.setdiff1d(np.arange(1, 91), sold))
    assert {*range(81, 91)} <= set(found.numbers.tolist())
    assert found.chance is not None
    assert found.chance[0] > 0


def test_a_bundle_says_which_data_code_seed_and_settings_made_it(
    make_log: MakeLog, trained: Callable[[Log], TrainedAffinity], tmp_path: Path
) -> None:
    log = make_log()
    training = AffinityModel.open(trained(log).write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))).training
    assert training["seed"] == training["settings"]["seed"] == BRIEF.seed
    assert training["settings"]["epochs"] == BRIEF.epochs
    assert (training["data"]["lines"], training["data"]["people"]) == (len(log), 60)
    assert training["data"]["until"] < "2023-11-15"
    assert training["data"] == data_identity(log, trained(log).evaluation.cut)
    fewer = log.between(int(log.occurred.min()) + 1, None)
    assert training["data"]["sha256"] != data_identity(fewer, trained(log).evaluation.cut)["sha256"]
    assert set(training["code"]) == {"penchant", "ml_sha256", "python", "numpy", "keras", "tensorflow"}
    assert len(training["code"]["ml_sha256"]) == 64


def test_probabilities_agree_with_what_is_bought_after_the_cut(
    make_log: MakeLog, trained: Callable[[Log], TrainedAffinity]
) -> None:
    checked = trained(make_log()).checked_chance
    assert checked is not None
    assert checked["predicted"] == pytest.approx(checked["observed"], rel=0.35)
    assert checked["bins"][0][0] > 5 * checked["bins"][-1][0]


def test_the_best_baseline_is_made_and_orders_as_it_was_evaluated(
    make_log: MakeLog, trained: Callable[[Log], TrainedAffinity], tmp_path: Path
) -> None:
    log, refused = make_log(), trained(make_log())
    cut = refused.evaluation.cut
    methods = baseline_methods(log.between(None, cut), refused.universe)
    for name in BASELINES:
        ahead = {each: Score(0, 0, 0) for each in (name, *BASELINES)}
        chosen = replace(refused.evaluation, ahead=ahead, methods={**refused.evaluation.methods, name: BEST})
        baseline = replace(refused, evaluation=chosen).best_baseline(ignored)
        assert (baseline.evaluation.baseline, baseline.chance) == (name, None)
        opened = AffinityModel.open(baseline.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))
        assert opened.evaluation["baseline"] == name
        for person in range(0, 60, 9):
            wanted = methods[name](log.history(person, cut), cut)
            free = ~np.isin(wanted, resting(opened.universe, log.state(person, cut), cut))
            listed = rank_all(opened, log.state(person, cut), cut)
            ours, theirs = listed.numbers[:10], wanted[free][:10]
            if name not in COUNTS:
                assert len(np.intersect1d(ours, theirs)) >= 9  # items of almost equal sums may change places
            elif name == "decayed_frequency":  # purchases fade faster in a state than in this baseline
                assert len(np.intersect1d(ours, theirs)) >= 8
            else:  # items that as many people bought lately may change places
                history, lately = log.history(person, cut), opened.universe.column("recent_people")
                for numbers in zip(ours, theirs, strict=True):
                    one, other = ((history["item"] == number).sum() for number in numbers)
                    assert one == other
                    one, other = lately[opened.universe.rows(np.array(numbers))]
                    assert one == pytest.approx(other, rel=1e-3)
            assert np.isnan(listed.probabilities).all()


def test_the_same_log_and_seed_train_the_same_model(make_log: MakeLog) -> None:
    one, other = (brief(make_log(people=20), epochs=2) for _ in range(2))
    np.testing.assert_allclose(one.network.kernels[0], other.network.kernels[0], rtol=1e-4, atol=1e-6)
    assert one.evaluation.methods[RANKER] == other.evaluation.methods[RANKER]


def test_lines_after_the_cut_are_for_evaluation_and_never_for_training(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(people=20), now - 60 * DAY
    other = np.where(log.occurred >= cut, (log.item + 7) % 80 + 1, log.item).astype(np.uint32)
    one, changed = brief(log, cut, epochs=1), brief(replace(log, item=other), cut, epochs=1)
    np.testing.assert_array_equal(one.universe.near, changed.universe.near)
    np.testing.assert_array_equal(one.network.kernels[0], changed.network.kernels[0])
    assert one.evaluation.methods[RANKER] != changed.evaluation.methods[RANKER]


def test_training_windows_validation_and_the_cut_follow_each_other_however_short_the_log(
    make_log: MakeLog, now: int
) -> None:
    log = make_log()
    for days in (2, 30, 364):
        short = log.between(now - days * DAY, None)
        for config in (BRIEF, replace(BRIEF, cut_every=3)):
            spans = training_spans(short, now, config)
            assert int(short.occurred.min()) < min(start for start, _ in spans.training)
            assert max(end for _, end in spans.training) <= spans.validation_start < now
            latest, first = spans.validation
            assert (first.start, first.end, latest.end) == (spans.validation_start, latest.start, now)


def test_a_small_log_has_more_training_windows_if_it_reaches_back_far_enough(
    make_log: MakeLog, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log()
    assert len(training_spans(log, now, TrainingConfig()).training) == 12
    assert len(training_spans(log.between(now - 300 * DAY, None), now, TrainingConfig()).training) == 6
    assert len(training_spans(log, now, TrainingConfig(cuts=3)).training) == 3
    monkeypatch.setattr(splits, "FEW", 100)
    assert len(training_spans(log, now, TrainingConfig()).training) == 6, "it has many orders"


def test_the_export_ranks_like_keras(make_log: MakeLog) -> None:
    random = np.random.default_rng(0)
    model = build_ranker(np.full(WIDTH, 2.0), np.full(WIDTH, 9.0), (64, 32))
    histories = [random.normal(2, 3, (size, WIDTH)).astype(np.float32) for size in (1, 7, 500)]
    network = exported(model)
    assert check_parity(model, calibrated(network, 1.5, -2.0), 1.5, -2.0, histories) < 1e-4
    wrong = replace(network, biases=(network.biases[0] + 0.05, *network.biases[1:]))
    with pytest.raises(ExportDiffers):
        check_parity(model, calibrated(wrong, 1.5, -2.0), 1.5, -2.0, histories)


def test_the_export_of_several_models_ranks_like_their_average() -> None:
    random = np.random.default_rng(0)
    models = [build_ranker(np.full(WIDTH, 2.0), np.full(WIDTH, 9.0), (16, 8)) for _ in range(3)]
    histories = [random.normal(2, 3, (size, WIDTH)).astype(np.float32) for size in (1, 7, 500)]
    network = averaged([exported(model) for model in models])
    assert check_parity(average(models), network, 1.0, 0.0, histories) < 1e-4
    with pytest.raises(ExportDiffers):
        check_parity(average(models[:2]), network, 1.0, 0.0, histories)


def test_the_lambda_loss_is_what_wrong_places_cost() -> None:
    bought = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], np.float32)
    found = lambda_loss(bought, np.array([[2.0, 1.0, -1e9], [3.0, -9.0, -9.0]], np.float32))
    change = 1 - 1 / np.log2(3)
    assert float(found[0]) == pytest.approx(change * np.log1p(np.exp(1.0)), rel=1e-4)
    assert float(found[1]) < 1e-4


def test_a_model_of_nan_is_never_exported() -> None:
    model = build_ranker(np.full(WIDTH, 2.0), np.full(WIDTH, 9.0), (4,))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(ExportDiffers):
        check_parity(model, exported(model), 1.0, 0.0, [np.zeros((3, WIDTH), np.float32)])


def test_padding_counts_for_nothing_in_the_loss() -> None:
    labels = np.array([[1.0, 0.0, 0.0]], np.float32)
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    padded_labels = np.concatenate([labels, np.full((1, 4), -1, np.float32)], axis=1)
    padded_logits = np.concatenate([logits, np.full((1, 4), 30, np.float32)], axis=1)
    np.testing.assert_allclose(ranking_loss(padded_labels, padded_logits), ranking_loss(labels, logits), rtol=1e-5)


def test_the_sum_of_scores_is_near_to_the_number_of_purchases(
    make_log: MakeLog, trained: Callable[[Log], TrainedAffinity]
) -> None:
    log, model = make_log(), trained(make_log())
    cut = model.evaluation.cut
    baskets = first_baskets(log, cut)
    predicted, bought = 0.0, 0
    for index, person in enumerate(baskets.people.tolist()):
        ranked = rank_all(model, log.state(person, cut), cut)
        predicted += float(ranked.scores.sum())
        bought += int(np.isin(ranked.numbers, baskets[index]).sum())
    assert predicted == pytest.approx(bought, rel=0.35)


def rank_all(model: Ranker, state: State, as_of: int) -> Ranked:
    return rank(
        model,
        state,
        as_of=as_of,
        allowed=EVERYTHING,
        context=np.empty(0, np.uint32),
        fallback=Fallback.popular(model.universe.popular_numbers),
        first=80,
    )


def test_an_empty_log_is_refused(make_log: MakeLog) -> None:
    with pytest.raises(NothingToLearn, match="empty"):
        brief(make_log().between(0, 1))


def test_a_cut_before_all_purchases_is_refused(make_log: MakeLog) -> None:
    with pytest.raises(NothingToLearn, match="before the cut"):
        brief(make_log(), cut=1)


def test_of_people_who_never_come_back_what_belongs_together_is_learned(now: int, tmp_path: Path) -> None:
    people = np.arange(60, dtype=np.int32)
    pairs = np.array([[1, 2], [3, 4], [5, 6]], np.uint32)[people % 3]  # everybody orders one of these pairs, once
    log = Log.of(
        people=[f"user:{person}" for person in people],
        person=np.repeat(people, 2),
        item=pairs.ravel(),
        occurred=np.repeat(now - 7 * DAY * people.astype(np.int64), 2),
        cents=np.full(120, 100),
        order=np.repeat(people, 2).astype(np.int64),
        numbers=np.arange(1, 81, dtype=np.uint32),
        item_ids=[f"item {number}" for number in range(1, 81)],
    )
    trained = brief(log)
    judged = verdict(trained.evaluation)
    assert not judged.promote
    assert "no person with an earlier order ordered again" in judged.reason
    baseline = trained.best_baseline(ignored)
    assert baseline.evaluation.baseline == "popularity"
    opened = AffinityModel.open(baseline.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))
    assert similar(opened.universe, 1, EVERYTHING, Fallback.popular(opened.popular), 1).numbers.tolist() == [2]
    assert bought_together(opened.universe, 1, EVERYTHING, 5).numbers.tolist() == [2]


def test_a_catalogue_of_one_item_makes_a_bundle(make_log: MakeLog, tmp_path: Path) -> None:
    trained = brief(make_log(people=10, items=1), epochs=1)
    assert AffinityModel.open(trained.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))).item_ids == ["item 1"]
    assert not verdict(trained.evaluation).promote


def test_one_person_makes_a_bundle(make_log: MakeLog, tmp_path: Path) -> None:
    trained = brief(make_log(people=1, orders=60), epochs=1)
    assert trained.evaluation.people == 1
    AffinityModel.open(trained.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))


def test_a_log_about_unknown_items_is_refused(make_log: MakeLog) -> None:
    log = make_log(people=2)
    columns = {name: getattr(log, name) for name in ("person", "item", "occurred", "cents", "order")}
    with pytest.raises(InvalidInput, match="does not have"):
        Log.of(people=log.people, numbers=log.numbers[:3], item_ids=log.item_ids[:3], **columns)


def test_the_trainer_of_the_kind_affinity_trains_this_model() -> None:
    assert trainer_for("affinity") is train


def scored(model: TrainedAffinity, log: Log) -> list[Ranked]:
    """The lists of all people as of the end of the log."""
    end = int(log.occurred.max()) + 1
    return [rank_all(model, log.state(person, end), end) for person in np.unique(log.person).tolist()]


def odd(log: Log, **columns: int) -> Log:
    """The log with some columns constant."""
    constant: dict[str, Any] = {
        name: np.full(len(log), value, getattr(log, name).dtype) for name, value in columns.items()
    }
    return replace(log, **constant)


@pytest.mark.parametrize(
    "columns",
    [
        {"cents": 0},
        {"cents": 2**62},
        {"cents": -5},
        {"item": 7},
    ],
)
def test_constant_and_absurd_columns_are_refused_or_serve_finite_scores(
    make_log: MakeLog, columns: dict[str, int]
) -> None:
    log = odd(make_log(people=12), **columns)
    model = brief(log, epochs=1)
    assert not verdict(model.evaluation).promote
    for ranked in scored(model, log):
        assert np.isfinite(ranked.scores).all()


def test_a_feature_that_was_constant_in_training_does_not_drown_the_others() -> None:
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (8, 12, WIDTH)).astype(np.float32)
    features[..., 3] = 5.9
    labels = np.tile(np.arange(12) < 2, (8, 1)).astype(np.float32)
    lists = TrainingLists(features.astype(np.float16), labels)
    fitted = fit(lists, hidden=(8,), epochs=1, batch=4, learning_rate=1e-3, seed=1, epoch_done=lambda _: None)
    network, other = exported(fitted.model), features[0].copy()
    other[:, 3] = 100
    np.testing.assert_allclose(network.logits(other), network.logits(features[0]), atol=1e-3)


def test_few_purchases_that_separate_by_chance_leave_scores_apart(make_log: MakeLog) -> None:
    random = np.random.default_rng(0)
    bought = np.arange(30) < 2
    slope, shift = platt(
        np.where(bought, 5, -5).astype(np.float32) + random.normal(0, 1, 30).astype(np.float32), bought
    )
    p = 1 / (1 + np.exp(-(slope * np.array([-5.0, 5.0]) + shift)))
    assert 0.01 < p[0] < 0.2
    assert 0.5 < p[1] < 0.95
    assert platt(np.zeros(9, np.float32), np.zeros(9, np.bool_))[1] == pytest.approx(np.log(1 / 10), abs=0.1)
