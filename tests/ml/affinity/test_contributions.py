"""Contributions of feature groups: exact Shapley values that add up to the difference of two logits."""

import numpy as np
import pytest

from ml.affinity.contributions import GROUPS, contributions, group_of
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES

NAMES = list(FEATURES)


def network(seed: int) -> Network:
    random = np.random.default_rng(seed)
    kernels = random.normal(0, 0.4, (len(FEATURES), 16)), random.normal(0, 0.4, (16, 1))
    return Network(
        tuple(kernel.astype(np.float32) for kernel in kernels),
        (random.normal(size=16).astype(np.float32), np.zeros(1, np.float32)),
    )


def pair(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(FEATURES)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_contributions_add_up_to_the_difference_of_the_logits(seed: int) -> None:
    one, other, net = pair(seed), pair(seed + 100), network(seed)
    found = contributions(net, one, other)
    difference = float(net.logits(one[None])[0] - net.logits(other[None])[0])
    assert sum(found.values()) == pytest.approx(difference, abs=1e-4)
    assert set(found) <= set(GROUPS)


def test_a_group_without_a_difference_has_no_contribution() -> None:
    one, other = pair(1), pair(2)
    same = [at for at, name in enumerate(NAMES) if group_of(name) in ("ITEM", "PERSON")]
    other[same] = one[same]
    assert set(contributions(network(1), one, other)) == set(map(group_of, NAMES)) - {"ITEM", "PERSON"}


def test_equal_pairs_have_no_contributions() -> None:
    assert contributions(network(1), pair(1), pair(1)) == {}


def test_a_linear_network_gives_each_group_its_own_weights() -> None:
    weights = np.random.default_rng(3).normal(size=(len(FEATURES), 1)).astype(np.float32)
    net, one, other = Network((weights,), (np.zeros(1, np.float32),)), pair(3), pair(4)
    found = contributions(net, one, other)
    for group, value in found.items():
        of = [at for at, name in enumerate(NAMES) if group_of(name) == group]
        assert value == pytest.approx(float((weights[of, 0] * (one - other)[of]).sum()), abs=1e-4)


def test_swapping_the_pairs_turns_every_contribution_round() -> None:
    found, turned = contributions(network(5), pair(5), pair(6)), contributions(network(5), pair(6), pair(5))
    assert found == pytest.approx({group: -value for group, value in turned.items()}, abs=1e-4)


def test_every_feature_belongs_to_a_group_with_a_name() -> None:
    assert [name for name in NAMES if group_of(name) == "OTHER"] == []
