"""Scores computed in parts are those of whole feature matrices; a state keeps what it says of its items."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from ml.affinity.candidates import find_candidates, gather_evidence
from ml.affinity.network import Network, averaged
from ml.affinity.pair_features import FEATURES, pair_features, pairs_of
from ml.affinity.pair_scores import pair_logits
from ml.affinity.ranking import Ranker
from ml.habits import BYTES
from ml.masks import mask_of
from ml.state import State, Table, fold
from ml.universe import Universe

DAY = 86_400


def network(seed: int, *hidden: int) -> Network:
    random, sizes = np.random.default_rng(seed), (len(FEATURES), *hidden, 1)
    kernels = (random.normal(0, 0.3, shape) for shape in pairwise(sizes))
    biases = (random.normal(0, 0.3, size) for size in sizes[1:])
    return Network(
        tuple(kernel.astype(np.float32) for kernel in kernels), tuple(bias.astype(np.float32) for bias in biases)
    )


@pytest.fixture
def regular(make_events: Callable[..., Table], now: int) -> State:
    """A person who bought some items every week, and one item once."""
    weeks = [make_events(5, 6, 7, at=now - week * 7 * DAY, apart=0) for week in range(1, 9)]
    return fold(State.empty(), np.concatenate([*weeks, make_events(12, at=now - 3 * DAY)]))


@pytest.mark.parametrize(
    ("hidden", "seeds"),
    [((), (1,)), ((8,), (1,)), ((8, 6), (1,)), ((8,), (1, 2)), ((8, 6), (1, 2)), ((8, 6, 4), (1, 2, 3))],
)
def test_scores_in_parts_are_the_mean_of_whole_networks(
    universe: Universe, regular: State, now: int, hidden: tuple[int, ...], seeds: tuple[int, ...]
) -> None:
    networks = [network(seed, *hidden) for seed in seeds]
    ranker = Ranker(universe, averaged(networks))
    for state in (regular, State.empty()):
        evidence, everything = gather_evidence(universe, state, now), mask_of(universe.numbers)
        pair = evidence, find_candidates(evidence, everything, np.empty(0, np.uint32))
        served = pair_logits(ranker.pair_network, pairs_of(*pair))
        expected = np.mean([one.logits(pair_features(*pair)) for one in networks], axis=0)
        np.testing.assert_allclose(served, expected, rtol=1e-4, atol=1e-5)
        assert np.ptp(served) > 1e-3
        np.testing.assert_allclose(ranker.network.logits(pair_features(*pair)), expected, rtol=1e-4, atol=1e-5)


def test_habits_are_kept_with_the_state_and_take_the_memory_that_is_counted(regular: State) -> None:
    habits = regular.habits
    assert regular.habits is habits
    arrays = vars(habits).values()
    assert sum(array.nbytes for array in arrays) == BYTES * len(regular.bought)
    assert all(array.base is None or array.base.nbytes == array.nbytes for array in arrays), "no view of a larger array"
