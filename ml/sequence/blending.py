"""The net and the rules of lines in one score, with a weight that is chosen on validation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle, BundleRefused
from ml.metrics import ndcg
from ml.sequence.histories import Rows
from ml.sequence.rules import LineRules
from ml.sequence.serving import PART, Floats, SequenceNet

WEIGHTS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)  # of the rules, that are tried
FLOOR = 1e-6  # added to the strength of a rule before its logarithm


@dataclass(frozen=True, eq=False)
class SequenceBlend:
    """log P(item is next) by the net, plus `weight` x the logarithm of how strongly the rules of lines name it."""

    net: SequenceNet
    rules: LineRules
    weight: float = 0.0

    @property
    def items(self) -> int:
        """How many items it knows."""
        return len(self.net.vectors)

    def scores(self, rows: Rows) -> Floats:
        """(items,) after these items, the newest last: logarithms of shares, which add up to 1."""
        logits = self.net.logits(rows)
        if self.weight:
            logits += np.float32(self.weight) * _log_rules(self.rules, rows)
        return _log_softmax(logits)

    def of(self, rows: Rows) -> "SequenceBlend":
        """The same for other items: the row of each among these, or `items` for one that it did not learn of.

        Such an item gets the mean vector, so that it is never likelier than by chance, and no rule names it.
        """
        known = rows < self.items
        vectors = np.concatenate([self.net.vectors, self.net.vectors.mean(axis=0, keepdims=True)])
        place = np.full(self.items + 1, len(rows), np.int32)
        place[rows[known]] = np.flatnonzero(known)
        kept = np.append(np.minimum(rows, self.items), self.items)
        named = place[self.rules.rows[kept]]
        scores = np.where(named < len(rows), self.rules.scores[kept], np.float32(0))
        return replace(self, net=replace(self.net, vectors=vectors[kept[:-1]]), rules=LineRules(named, scores))

    def parts(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names in a bundle."""
        return self.net.parts() | {
            f"{PART}next": self.rules.rows,
            f"{PART}next_score": self.rules.scores,
            f"{PART}weight": np.array([self.weight], np.float32),
        }

    @staticmethod
    def is_in(opened: Bundle) -> bool:
        """Whether a bundle has a blend."""
        return f"{PART}weight" in opened.parts

    @classmethod
    def read(cls, opened: Bundle) -> Self:
        """The blend of a bundle. Raises `BundleRefused` when its arrays are missing or do not fit together."""
        rules = LineRules(opened.array(f"{PART}next"), opened.array(f"{PART}next_score"))
        weight, net = opened.array(f"{PART}weight"), SequenceNet.read(opened)
        if rules.rows.shape != rules.scores.shape or len(rules.rows) != len(net.vectors) + 1 or weight.shape != (1,):
            raise BundleRefused(f"bundle {opened.id}: the rules of its sequence net do not fit together")
        return cls(net, rules, float(weight[0]))


def with_best_weight(
    blend: SequenceBlend, histories: Sequence[Rows], targets: Sequence[Rows], *, again: bool
) -> tuple[SequenceBlend, float]:
    """The blend with the weight of WEIGHTS that foretells the targets best, and its NDCG@10.

    Unless people buy items `again`, what is in a history is no candidate.
    """
    found = np.zeros((len(WEIGHTS), len(histories)))
    for index, (rows, target) in enumerate(zip(histories, targets, strict=True)):
        net, rules = _log_softmax(blend.net.logits(rows)), _log_rules(blend.rules, rows)
        for place, weight in enumerate(WEIGHTS):
            hits = np.isin(best_rows(net + weight * rules, None if again else rows, 10), target)
            found[place, index] = ndcg(hits, len(target))
    means = found.mean(axis=1) if len(histories) else np.zeros(len(WEIGHTS))
    best = int(means.argmax())
    return replace(blend, weight=WEIGHTS[best]), float(means[best])


def best_rows(scores: NDArray[Any], seen: Rows | None, most: int) -> NDArray[np.intp]:
    """The rows of the items with the highest scores, best first, without those of `seen`."""
    if seen is not None and len(seen):
        scores = scores.copy()
        scores[seen] = -np.inf
    top = np.argpartition(-scores, min(most, len(scores) - 1))[:most]
    return top[np.argsort(-scores[top], kind="stable")]


def _log_rules(rules: LineRules, rows: Rows) -> Floats:
    sums = rules.sums(rows)
    logs = np.full(len(sums), np.log(FLOOR), np.float32)
    named = np.flatnonzero(sums > 0)  # few of all
    logs[named] = np.log(sums[named] + FLOOR)
    return logs


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max()
    logs: Floats = shifted - np.log(np.exp(shifted).sum())
    return logs
