"""Tables as of now, with the weights as they were tested."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.affinity.candidates import find_candidates, gather_evidence
from ml.affinity.model import AffinityModel
from ml.affinity.refreshing import as_of_cut, refreshed
from ml.log import Log, NothingToLearn
from ml.masks import mask_of
from ml.snapshot import best_supported, snapshot
from ml.universe import Universe

MakeLog = Callable[..., Log]
DAY = 86_400
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def new_item(log: Log, at: int) -> Log:
    """The log with an item that half of the people buy for the first time."""
    people = np.arange(0, len(log.people), 2, dtype=np.int32)
    number = int(log.numbers.max()) + 1
    more = {
        "person": people,
        "item": np.full(len(people), number, np.uint32),
        "occurred": np.full(len(people), at, np.int64),
        "cents": np.full(len(people), 500, np.int64),
        "order": int(log.order.max()) + 1 + np.arange(len(people)),
        "quantity": np.ones(len(people), np.int32),
    }
    columns: dict[str, Any] = {name: np.concatenate([getattr(log, name), column]) for name, column in more.items()}
    numbers = np.append(log.numbers, np.uint32(number))
    return Log.of(people=log.people, numbers=numbers, item_ids=[*log.item_ids, "new"], **columns)


def candidates(universe: Universe, log: Log, person: int, as_of: int) -> set[int]:
    evidence = gather_evidence(universe, log.state(person, as_of), as_of)
    everything = mask_of(np.arange(1, 100, dtype=np.uint32))
    return set(find_candidates(evidence, everything, np.empty(0, np.uint32)).tolist())


@pytest.fixture
def old(make_log: MakeLog, now: int, tmp_path: Path, write_bundle: Callable[[Path, Universe], Path]) -> AffinityModel:
    """A model with tables as of four weeks ago."""
    past = make_log().between(None, now - 28 * DAY)
    numbers = best_supported(past, 80)
    return AffinityModel.open(write_bundle(tmp_path, snapshot(past, numbers, now - 28 * DAY)))


def test_an_item_first_sold_yesterday_is_a_candidate(
    old: AffinityModel, make_log: MakeLog, now: int, tmp_path: Path
) -> None:
    log = new_item(make_log(), now - DAY)
    number = int(log.numbers.max())
    assert number not in candidates(old.universe, log, 1, now)
    fresh = AffinityModel.open(refreshed(old, log, now).write(tmp_path, MONDAY))
    assert number in candidates(fresh.universe, log, 1, now)
    assert fresh.item_ids[-1] == "new"
    assert fresh.universe.together is not None
    assert number not in candidates(refreshed(old, log, now - 2 * DAY).universe, log, 1, now), "nothing later is read"


def test_weights_calibration_and_evaluation_stay(
    old: AffinityModel, make_log: MakeLog, now: int, tmp_path: Path
) -> None:
    once = AffinityModel.open(refreshed(old, make_log(), now - 7 * DAY).write(tmp_path, MONDAY))
    twice = AffinityModel.open(refreshed(once, make_log(), now).write(tmp_path, MONDAY))
    for fresh in (once, twice):
        np.testing.assert_equal(fresh.network.kernels, old.network.kernels)
        np.testing.assert_equal(fresh.network.biases, old.network.biases)
        assert (fresh.evaluation, fresh.chance) == (old.evaluation, old.chance)
        assert fresh.training["refreshed_from"] == old.id, "of the model, not of yesterday's tables"
    assert len({old.id, once.id, twice.id}) == 3
    assert twice.training["refreshed_as_of"] > once.training["refreshed_as_of"]


def test_refreshed_tables_are_those_of_a_training_as_of_the_same_moment(
    old: AffinityModel, make_log: MakeLog, now: int
) -> None:
    log = make_log()
    wanted = snapshot(log, best_supported(log, 80), int(log.occurred.max()) + 1)
    made = refreshed(old, log, now)
    for name in ("numbers", "columns", "rest", "near", "near_score", "next", "next_score", "popular", "rebought"):
        np.testing.assert_array_equal(getattr(made.universe, name), getattr(wanted, name), name)
    np.testing.assert_array_equal(as_of_cut(old, log, wanted).universe.near, wanted.near)


def test_without_a_purchase_there_is_nothing_to_refresh_from(old: AffinityModel, make_log: MakeLog, now: int) -> None:
    with pytest.raises(NothingToLearn):
        refreshed(old, make_log(), now - 400 * DAY)
