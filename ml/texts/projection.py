"""A learned projection of hashed words to short vectors: near to each other is what reads alike and sells to the same.

The first half of a vector is the text alone: the strongest directions of the words of the items that were bought
(latent semantic analysis; Deerwester et al. 1990). The second half is foretold from the words: where the item would be
among the items that the same people buy (a ridge regression on the singular vectors of who bought what).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ml.log import Log
from ml.neighbours import people_by_items
from ml.words import BUCKETS, ItemWords

WIDTH = 64  # of each half
RIDGE = 0.3
PRIOR = 10.0  # people: an item bought by so many counts half in the regression
ROUNDS = 25  # of conjugate gradients
MORE, POWERS = 16, 2  # directions beside WIDTH, and rounds, of the randomized singular vectors (Halko et al. 2011)
_LEAST = 1e-9

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Projection:
    """Turns hashed words into vectors."""

    rarity: NDArray[Any]  # (BUCKETS,) the weight of each bucket: fewer items, more weight
    alike: NDArray[Any]  # (BUCKETS, k) the half of the text alone
    sold: NDArray[Any]  # (BUCKETS, k) the half of who buys it

    def vectors(self, words: ItemWords) -> Floats:
        """(items, 2 k) of length 1, so that a product of two is their cosine; all 0 for an item without words."""
        table = weighted(words, self.rarity)
        halves = [_unit(table @ np.asarray(half, np.float32)) for half in (self.alike, self.sold)]
        return _unit(np.concatenate(halves, axis=1))


def learn_projection(log: Log, words: ItemWords, numbers: NDArray[np.uint32], as_of: int, seed: int) -> Projection:
    """Learn from the lines before a second about the items `numbers` (ascending), as far as they have words."""
    log = log.between(None, as_of).of_items(np.intersect1d(numbers, words.numbers)).kept
    bought = np.unique(log.item)
    rarity = np.log((1 + len(words.numbers)) / (1 + np.bincount(words.buckets, minlength=BUCKETS))).astype(np.float32)
    table = weighted(words, rarity)[np.searchsorted(words.numbers, bought)]
    rows = np.searchsorted(bought, log.item).astype(np.int32)
    people = people_by_items(log, rows, len(bought), as_of)
    buyers = np.bincount(people.indices, minlength=len(bought))
    lengths = np.sqrt(np.bincount(people.indices, people.data**2, minlength=len(bought)))
    people.data = (people.data / np.maximum(lengths, _LEAST)[people.indices]).astype(np.float32)
    where, strength = _directions(people, seed)
    target = _unit(where * strength)
    sold = _ridge(table, target, (buyers / (buyers + PRIOR)).astype(np.float32))
    return Projection(rarity, _directions(table, seed)[0].astype(np.float16), sold.astype(np.float16))


def weighted(words: ItemWords, rarity: NDArray[Any]) -> sparse.csr_array:
    """(items, BUCKETS) the features by their rarity, each item of length 1."""
    shape = (len(words.numbers), BUCKETS)
    weights = words.weights * np.asarray(rarity, np.float32)[words.buckets]
    of = np.repeat(np.arange(shape[0]), np.diff(words.starts))
    lengths = np.sqrt(np.bincount(of, weights**2, minlength=shape[0]))
    weights = (weights / np.maximum(lengths, _LEAST)[of]).astype(np.float32)
    return sparse.csr_array((weights, words.buckets.astype(np.int32), words.starts), shape=shape)


def _directions(table: sparse.csr_array, seed: int) -> tuple[Floats, Floats]:
    """(columns, k) the strongest directions of the rows of a table, and (k,) how strong they are; k at most WIDTH."""
    width = min(WIDTH + MORE, *table.shape)
    if not width:
        return np.zeros((table.shape[1], 1), np.float32), np.zeros(1, np.float32)
    sketch = np.random.default_rng(seed).standard_normal((table.shape[1], width)).astype(np.float32)
    basis = table @ sketch
    for _ in range(POWERS):
        basis = table @ (table.T @ np.linalg.qr(basis)[0])
    basis = np.linalg.qr(basis)[0]
    _, strength, directions = np.linalg.svd((table.T @ basis).T, full_matrices=False)
    return directions[:WIDTH].T, strength[:WIDTH]


def _ridge(table: sparse.csr_array, target: Floats, weight: Floats) -> Floats:
    """(BUCKETS, k) with the least weighted squares of table @ it - target, plus RIDGE x its squares."""
    found = np.zeros((table.shape[1], target.shape[1]), np.float32)
    rest = table.T @ (weight[:, None] * target)
    step, size = rest.copy(), (rest * rest).sum(axis=0)
    for _ in range(ROUNDS):
        moved = table.T @ (weight[:, None] * (table @ step)) + RIDGE * step
        length = size / np.maximum((step * moved).sum(axis=0), _LEAST)
        found += length * step
        rest -= length * moved
        before, size = size, (rest * rest).sum(axis=0)
        step = rest + size / np.maximum(before, _LEAST) * step
    return found


def _unit(vectors: NDArray[Any]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.maximum(lengths, _LEAST)).astype(np.float32)
    return scaled
