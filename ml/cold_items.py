"""Items that nobody bought yet, or too few to be ranked, and the ranked ones like them by words and attributes."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle, BundleRefused
from ml.masks import Mask, mask_of

PART = "cold_"  # before the names of its arrays in a bundle
_ARRAYS = ("numbers", "kin", "kin_score", "like", "like_score", "rarity", "alike", "sold")


@dataclass(frozen=True, eq=False)
class ColdItems:
    """m items that nobody bought, or too few did, beside the n items of a universe. Arrays may be memory-mapped."""

    numbers: NDArray[np.uint32]  # (m,) catalogue numbers, ascending
    kin: NDArray[np.int32]  # (n + 1, k) for each item of the universe the cold items most like it, padded with m
    kin_score: NDArray[np.float32]  # (n + 1, k) how like; 0 where padded
    like: NDArray[np.int32]  # (m, k) for each cold item the items of the universe most like it, padded with n
    like_score: NDArray[np.float32]  # (m, k) cosines; 0 where padded
    rarity: NDArray[Any]  # the projection of words, see `ml.texts.projection.Projection`
    alike: NDArray[Any]
    sold: NDArray[Any]
    chance: NDArray[np.float64] | None = None  # (2,) slope and shift: log evidence -> log odds of a purchase

    @property
    def items(self) -> int:
        """How many items of the universe it was made for."""
        return len(self.kin) - 1

    @cached_property
    def mask(self) -> Mask:
        """Which catalogue numbers are these items."""
        return mask_of(self.numbers)

    def row(self, number: int) -> int | None:
        """The row of a catalogue number; None for an item that is not one of these."""
        at = int(np.searchsorted(self.numbers, number))
        return at if at < len(self.numbers) and self.numbers[at] == number else None

    def with_chance(self, slope: float, shift: float) -> Self:
        """The same, calibrated."""
        return replace(self, chance=np.array([slope, shift]))

    def parts(self) -> dict[str, NDArray[Any]]:
        """Its arrays by their names in a bundle."""
        found = {f"{PART}{name}": getattr(self, name) for name in _ARRAYS}
        return found if self.chance is None else found | {f"{PART}chance": self.chance}

    @staticmethod
    def is_in(opened: Bundle) -> bool:
        """Whether a bundle has such items."""
        return f"{PART}numbers" in opened.parts

    @classmethod
    def read(cls, opened: Bundle) -> Self:
        """Those of a bundle. Raises `BundleRefused` when arrays are missing or do not fit together."""
        has_chance = f"{PART}chance" in opened.parts
        read = cls(
            **{name: opened.array(f"{PART}{name}") for name in _ARRAYS},
            chance=opened.array(f"{PART}chance") if has_chance else None,
        )
        if (
            read.kin.shape != read.kin_score.shape
            or read.like.shape != read.like_score.shape
            or len(read.like) != len(read.numbers)
            or (read.chance is not None and read.chance.shape != (2,))
        ):
            raise BundleRefused(f"bundle {opened.id}: the arrays of its items never sold do not fit together")
        return read
