"""The probability that a person buys an item within a horizon: calibrated scores of a ranker.

Scores only order a list: they are fitted on people who did order. A probability counts those who order nothing, too.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.affinity.network import sigmoid


@dataclass(frozen=True, slots=True)
class Chance:
    """Turns a score into a probability: sigmoid(slope x logit(score) + shift)."""

    slope: float
    shift: float
    horizon: int  # seconds in which the purchase is expected

    def of(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities of scores that no lift has changed."""
        clipped = np.clip(scores, np.float32(1e-30), np.float32(1 - 1e-7))
        return sigmoid(np.float32(self.slope) * np.log(clipped / (1 - clipped)) + np.float32(self.shift))

    def document(self) -> dict[str, float]:
        """As JSON."""
        return {"slope": self.slope, "shift": self.shift, "horizon": self.horizon}

    @classmethod
    def read(cls, document: Any) -> Self:
        """From JSON. Raises `KeyError`, `TypeError` or `ValueError` for another shape."""
        return cls(float(document["slope"]), float(document["shift"]), int(document["horizon"]))
