"""What is after a visit is not known at the visit, and nothing after the cut is learned from; logs without a clock."""

import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.affinity import chance_fitting, training_lists, validation_lists
from ml.affinity.model import AffinityModel
from ml.affinity.network import Network
from ml.affinity.ranking import rank
from ml.affinity.training_lists import CandidateFeatures, candidate_features
from ml.baskets import all_baskets
from ml.fallback import Fallback
from ml.log import Log, Signals
from ml.masks import mask_of
from ml.snapshot import best_supported, snapshot
from ml.state import DISLIKE, EVENT
from ml.universe import Universe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that are not ours
    from ml.affinity.config import TrainingConfig
    from ml.affinity.fitting import Fitted
    from ml.affinity.looking_back import CutLog, training_spans
    from ml.affinity.training import TrainedAffinity, train
    from ml.affinity.variants import RANKER, Chosen, choose_epochs

MakeLog = Callable[..., Log]
DAY = 86_400
BRIEF = TrainingConfig(item_limit=80, cuts=3, models=1, epochs=4, batch=16, list_length=64)


def ignored(stage: str, done: int, of: int) -> None:
    """Progress that no test reads."""


def with_lines(log: Log, person: int, item: int, moments: list[int]) -> Log:
    """The log with more lines of one person, each an order of its own, and a dislike with each."""
    count = len(moments)
    names = ("person", "item", "occurred", "cents", "order", "quantity")
    more = {
        "person": [person] * count,
        "item": [item] * count,
        "occurred": moments,
        "cents": [100] * count,
        "order": [int(log.order.max()) + 1 + index for index in range(count)],
        "quantity": [1] * count,
    }
    columns: dict[str, Any] = {
        name: np.append(getattr(log, name), np.array(more[name], getattr(log, name).dtype)) for name in names
    }
    dislikes = np.zeros(count, EVENT)
    dislikes["type"], dislikes["item"], dislikes["occurred"] = DISLIKE, item, moments
    signals = Signals(np.full(count, person, np.int32), dislikes)
    return Log.of(people=log.people, numbers=log.numbers, item_ids=log.item_ids, signals=signals, **columns)


def test_an_event_planted_at_the_visit_or_later_changes_no_feature(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(), now - 30 * DAY
    numbers = best_supported(log, 80)
    baskets = all_baskets(log, cut)
    for index in range(0, len(baskets), 9):
        person, visit = int(baskets.people[index]), int(baskets.visits[index])
        item = int(log.state(person, visit).items["item"][0])
        later = with_lines(log, person, item, [visit, visit + 1, visit + DAY])
        earlier = with_lines(log, person, item, [visit - 1])
        found = [candidate_features(each, snapshot(each, numbers, cut), person, visit) for each in (log, later)]
        assert found[0] is not None
        assert found[1] is not None
        np.testing.assert_array_equal(found[0].numbers, found[1].numbers)
        np.testing.assert_array_equal(found[0].features, found[1].features)
        changed = candidate_features(earlier, snapshot(log, numbers, cut), person, visit)
        assert changed is not None
        assert not np.array_equal(changed.numbers, found[0].numbers), "a dislike before the visit hides the item"


def parts_of(trained: TrainedAffinity) -> dict[str, object]:
    """Everything that is fitted."""
    return {
        **{f"universe.{field.name}": getattr(trained.universe, field.name) for field in fields(trained.universe)},
        **{f"kernel {index}": kernel for index, kernel in enumerate(trained.network.kernels)},
        **{f"bias {index}": bias for index, bias in enumerate(trained.network.biases)},
        "chance": trained.chance and trained.chance.document(),
        "edges": trained.rfm_edges,
        "items": trained.item_ids,
    }


def test_no_fit_reads_a_row_of_the_test_span(make_log: MakeLog, now: int) -> None:
    log, cut = make_log(people=30), now - 60 * DAY
    tested = np.flatnonzero(log.occurred >= cut)
    other, random = log.item.copy(), np.random.default_rng(0)
    other[tested] = random.permutation(other[tested]) % 80 + 1
    changed = replace(log, item=other, cents=np.where(log.occurred >= cut, 10**6, log.cents))
    gone = np.ones(len(log), np.bool_)
    gone[tested[random.random(len(tested)) < 0.5]] = False
    changed = Log.of(
        people=log.people,
        numbers=log.numbers,
        item_ids=log.item_ids,
        **{name: getattr(changed, name)[gone] for name in ("person", "item", "occurred", "cents", "order", "quantity")},
    )
    one, two = (train(each, cut, ignored, replace(BRIEF, epochs=1)) for each in (log, changed))
    for name, part in parts_of(one).items():
        np.testing.assert_equal(parts_of(two)[name], part, name)
    assert one.evaluation.methods[RANKER] != two.evaluation.methods[RANKER]


def test_sequences_without_a_clock_or_rebuys_are_learned_and_serve_days_later(
    make_sequences: MakeLog, tmp_path: Path
) -> None:
    log = make_sequences()
    trained = train(log, None, ignored, replace(BRIEF, epochs=8))
    assert trained.evaluation.people > 140
    ahead = trained.evaluation.ahead
    assert min(each.low for name, each in ahead.items() if name != "sequential_rules") > 0
    assert ahead["sequential_rules"].value > -0.01, "the rules are nearly how the log was made"
    assert trained.chance is None, "a horizon in days cannot be learned"
    opened = AffinityModel.open(trained.write(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)))
    everything, end = mask_of(log.numbers), int(log.occurred.max()) + 1
    fallback = Fallback.popular(opened.popular)
    for person in range(0, 150, 30):
        state = log.state(person, end)
        lists = [
            rank(
                opened,
                state,
                as_of=as_of,
                allowed=everything,
                context=np.empty(0, np.uint32),
                fallback=fallback,
                first=10,
            )
            for as_of in (end + DAY, end + 5 * DAY)
        ]
        assert not np.isin(lists[0].numbers, state.bought["item"]).any()
        assert lists[0].scores[0] == pytest.approx(lists[1].scores[0], abs=0.1)
        assert lists[0].numbers[0] == lists[1].numbers[0]
        assert len(np.intersect1d(lists[0].numbers, lists[1].numbers)) >= 7


def test_nothing_that_is_chosen_read_the_validation_span_and_the_last_fit_reads_it_up_to_the_cut(
    make_log: MakeLog, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, cut = make_log(people=30), now - 60 * DAY
    config = replace(BRIEF, epochs=1)
    looked: list[tuple[str, int]] = []  # why, as of which visit
    for name, module in (("fit", training_lists), ("calibration", validation_lists), ("probability", chance_fitting)):

        def seen(log: Log, universe: Universe, person: int, as_of: int, name: str = name) -> CandidateFeatures | None:
            looked.append((name, as_of))
            return candidate_features(log, universe, person, as_of)

        monkeypatch.setattr(module, "candidate_features", seen)
    train(log, cut, ignored, config)
    spans = training_spans(log.between(None, cut), cut, config)
    chosen_at = next(at for at, (name, _) in enumerate(looked) if name == "calibration")
    first, last = (
        [visit for name, visit in part if name == "fit"] for part in (looked[:chosen_at], looked[chosen_at:])
    )
    assert min(start for start, _ in spans.training) <= min(first) <= max(first) < spans.validation_start
    assert spans.validation_start <= min(last) <= max(last) < cut
    calibrated = [visit for name, visit in looked if name == "calibration"]
    assert spans.validation_start <= min(calibrated) <= max(calibrated) < cut
    before = [visit for name, visit in looked if name == "probability" and visit < cut]
    assert spans.validation_start <= min(before)
    assert max(before) + spans.validation[0].end - spans.validation[0].start <= cut, "their horizons end by the cut"


def test_what_is_chosen_is_the_same_whatever_happens_in_the_validation_span(
    make_log: MakeLog, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, cut = make_log(people=30), now - 60 * DAY
    config = replace(BRIEF, epochs=1)
    start = training_spans(log.between(None, cut), cut, config).validation_start
    late = (log.occurred >= start) & (log.occurred < cut)
    other = np.where(late, (log.item + 7) % 80 + 1, log.item).astype(np.uint32)
    networks: list[Network] = []

    def chosen(fitted: list[Fitted], cut_log: CutLog) -> Chosen:
        found = choose_epochs(fitted, cut_log)
        networks.append(found.network)
        return found

    monkeypatch.setattr("ml.affinity.training.choose_epochs", chosen)
    one, two = (train(each, cut, ignored, config) for each in (log, replace(log, item=other)))
    np.testing.assert_array_equal(networks[0].kernels[0], networks[1].kernels[0])
    assert not np.array_equal(networks[0].biases[-1], networks[1].biases[-1]), "the calibration reads it"
    assert not np.array_equal(one.network.kernels[0], two.network.kernels[0]), "the last fit reads it"
