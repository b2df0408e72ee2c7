"""What an event of interest, such as a view, says of its item: the chance that it is bought next, and how it fades.

The weights are assumed, by setting, until the log of the shop has enough events of a type: `ml.interest_learning`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml.universe import HOUR

TYPES: Final = tuple(EventType)
WEIGHTS: Final[Mapping[EventType, float]] = {
    EventType.VIEW: 0.4,
    EventType.CLICK: 0.5,
    EventType.ADD_TO_CART: 0.7,
    EventType.RATING: 0.4,
    EventType.LIKE: 0.6,
}
"""The assumed chance that the item of such an event is bought, by that event alone."""
HALF_LIFE: Final = 6 * HOUR  # seconds; assumed


def _by_code(values: Mapping[EventType, float], other: float) -> NDArray[np.float64]:
    return np.array([values.get(type, other) for type in TYPES], np.float64)


@dataclass(frozen=True, eq=False)
class Interest:
    """What events of each type say; arrays are by type code, (types,)."""

    weight: NDArray[np.float64] = field(default_factory=lambda: _by_code(WEIGHTS, 0.0))  # just after the event
    half_life: NDArray[np.float64] = field(default_factory=lambda: _by_code({}, HALF_LIFE))  # seconds of that weight
    learned: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(TYPES), np.bool_))  # else assumed

    @classmethod
    def assumed(cls, weights: Mapping[EventType, float], half_lives: Mapping[EventType, float]) -> "Interest":
        """As a shop sets it: weights, and half-lives in seconds; types it does not name keep ours."""
        return cls(_by_code({**WEIGHTS, **weights}, 0.0), _by_code(half_lives, HALF_LIFE))

    @classmethod
    def read(cls, table: NDArray[Any] | None) -> "Interest":
        """From a bundle's table; None, of a bundle without one, is what we assume."""
        return ASSUMED if table is None else cls(table[0].astype(np.float64), table[1].astype(np.float64), table[2] > 0)

    @property
    def table(self) -> NDArray[np.float32]:
        """(3, types) for a bundle."""
        return np.array([self.weight, self.half_life, self.learned], np.float32)

    @property
    def unlearned(self) -> "Interest":
        """The same weights, of which no ranker has learned."""
        return replace(self, learned=np.zeros(len(TYPES), np.bool_))

    def now(self, type: NDArray[np.uint8], age: NDArray[np.float64]) -> NDArray[np.float64]:
        """(events,) what events say, so many seconds after each."""
        return self.weight.take(type) * np.exp2(-age / self.half_life.take(type))

    def document(self) -> dict[str, dict[str, Any]]:
        """In words, for people: by type."""
        return {
            type.value: {
                "weight": round(float(self.weight[code]), 4),
                "half_life_hours": round(float(self.half_life[code]) / HOUR, 2),
                "learned": bool(self.learned[code]),
            }
            for code, type in enumerate(TYPES)
            if self.weight[code] > 0
        }


ASSUMED: Final = Interest()
