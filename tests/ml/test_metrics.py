"""Metrics against examples worked by hand."""

import doctest

import numpy as np
import pytest

from ml import metrics
from ml.metrics import coverage, hit_rate, interval, ndcg, recall, reciprocal_rank


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(metrics).failed == 0


def test_ndcg_of_a_perfect_list_is_one_even_for_a_large_basket() -> None:
    assert ndcg(np.ones(10, np.bool_), bought=25) == pytest.approx(1.0)


def test_ndcg_counts_the_rank() -> None:
    hits = np.zeros(10, np.bool_)
    hits[2] = True
    assert ndcg(hits, bought=1) == pytest.approx(0.5)  # 1 / log2(4)


def test_hits_after_the_tenth_rank_do_not_count() -> None:
    hits = np.zeros(20, np.bool_)
    hits[10:] = True
    assert (ndcg(hits, 10), recall(hits, 10), hit_rate(hits)) == (0.0, 0.0, 0.0)
    assert reciprocal_rank(hits) == pytest.approx(1 / 11)


def test_an_empty_list_scores_zero() -> None:
    nothing = np.empty(0, np.bool_)
    assert (ndcg(nothing, 3), recall(nothing, 3), reciprocal_rank(nothing)) == (0.0, 0.0, 0.0)
    assert coverage([], 10) == 0.0


def test_the_interval_holds_the_mean_and_narrows_with_more_people() -> None:
    values = np.random.default_rng(1).random(4_000)
    low, high = interval(values, seed=0)
    few_low, few_high = interval(values[:40], seed=0)
    assert low < values.mean() < high
    assert high - low < (few_high - few_low) / 3
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(4_000), rel=0.1)
