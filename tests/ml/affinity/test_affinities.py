"""Affinities by key: probabilities of single items joined, or decayed purchases."""

import numpy as np
import pytest

from ml.affinity.affinities import Weights, by_key

NUMBERS = np.arange(1, 5, dtype=np.uint32)


def weights(*values: float, probable: bool = True) -> Weights:
    return Weights(NUMBERS[: len(values)], np.array(values), probable)


def test_the_probability_of_a_key_is_that_of_any_of_its_items() -> None:
    first, second = by_key(weights(0.5, 0.2, 0.5, 0.1), ["tea", "milk", "tea", None], 10)
    assert (first.key, second.key) == ("tea", "milk")
    assert [first.probability, first.score, second.probability] == pytest.approx([0.75, 0.75, 0.2])
    assert [first.share, second.share] == pytest.approx([1 / 1.2, 0.2 / 1.2])


def test_without_probabilities_purchases_are_added_up() -> None:
    found = by_key(weights(2.0, 5.0, 1.0, probable=False), ["tea", "milk", "tea"], 10)
    assert [(one.key, one.score, one.share, one.probability) for one in found] == [
        ("milk", 5.0, 5 / 8, None),
        ("tea", 3.0, 3 / 8, None),
    ]


def test_a_certain_item_and_equal_keys_are_no_trouble() -> None:
    found = by_key(weights(1.0, 0.3, 0.3), ["a", "c", "b"], 2)
    assert [one.key for one in found] == ["a", "b"]
    assert found[0].probability == pytest.approx(1.0)


def test_no_items_and_no_keys_give_nothing() -> None:
    assert by_key(weights(), [], 10) == []
    assert by_key(weights(0.5), [None], 10) == []
