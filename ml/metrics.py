"""Metrics of a ranked list against the basket that was bought; each in [0, 1], higher is better."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hits = NDArray[np.bool_]  # (k,) whether the item at each rank was bought, best rank first


def ndcg(hits: Hits, bought: int, k: int = 10) -> float:
    """The gain of the first k, a hit at rank r worth 1 / log2(r + 1), against the best possible list.

    >>> round(ndcg(np.array([True, False, True]), bought=2), 4)
    0.9197
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    return float(discount[: len(hits)][hits[:k]].sum() / discount[: min(bought, k)].sum())


def recall(hits: Hits, bought: int, k: int = 10) -> float:
    """The share of the basket that is among the first k.

    >>> recall(np.array([True, False, True]), bought=4)
    0.5
    """
    return float(hits[:k].sum() / bought)


def hit_rate(hits: Hits, k: int = 10) -> float:
    """1 when any item of the basket is among the first k.

    >>> hit_rate(np.array([False, False, True]))
    1.0
    """
    return float(hits[:k].any())


def reciprocal_rank(hits: Hits) -> float:
    """1 over the rank of the first item that was bought; averaged over people this is MRR.

    >>> reciprocal_rank(np.array([False, True, True]))
    0.5
    """
    return float(1 / (1 + np.argmax(hits))) if hits.any() else 0.0


def coverage(lists: Sequence[NDArray[np.uint32]], items: int) -> float:
    """The share of all items that are in at least one list.

    >>> coverage([np.array([1, 2], np.uint32), np.array([2, 3], np.uint32)], items=6)
    0.5
    """
    return len(np.unique(np.concatenate(lists))) / items if lists else 0.0


def tied(scores: NDArray[np.float32], k: int = 10) -> float:
    """The share of the k highest scores of a list that equal another one among them.

    >>> tied(np.array([0.1, 0.9, 0.5, 0.5], np.float32))
    0.5
    """
    top = np.sort(scores)[::-1][:k]
    _, times = np.unique(top, return_counts=True)
    return float(times[times > 1].sum() / max(len(top), 1))


def interval(values: NDArray[np.float64], seed: int, draws: int = 2_000) -> tuple[float, float]:
    """The 95 % interval of the mean, by the bootstrap: people are drawn with replacement."""
    if not len(values):
        return 0.0, 0.0
    random = np.random.default_rng(seed)
    means = np.array([values[random.integers(0, len(values), len(values))].mean() for _ in range(draws)])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
