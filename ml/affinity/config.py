"""Every setting of a training of the affinity model."""

from dataclasses import dataclass, replace
from typing import Self

from ml.splits import DAY, HOLDOUT


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Every setting of a training."""

    item_limit: int = 10_000  # items with the most purchases; the network ranks no other
    cuts: int | None = None  # training windows; None: see `ml.splits.windows_for`
    cut_every: int = 14  # days between their starts; in a longer test span than `holdout` more, see `for_span`
    horizon: int = 14  # days of a window; the validation span has two of them
    holdout: int = HOLDOUT  # days at the end of the log kept for evaluation, see `ml.splits.holdout_cut`
    test_windows: int = 4  # of the test span; tables are rebuilt as of the start of each, as they are in serving
    lists_limit: int = 6_000  # per window
    list_length: int = 96  # candidates per list
    hidden: tuple[int, ...] = (64, 32)
    models: int = 2  # networks that differ by their seed; their logits are averaged
    epochs: int = 6
    stops: tuple[float, ...] = (1.0, 0.5)  # shares of the epochs after which fitting may end; validation chooses
    batch: int = 32  # lists
    learning_rate: float = 2e-3
    validated: int = 1_000  # people of the validation span, for the choice and the calibration
    histories: int = 300  # real ones, for probabilities and for the proof that the export ranks like Keras
    seed: int = 7

    def for_span(self, seconds: int) -> Self:
        """The same for a test span of this length: windows that are as much longer as it is longer than `holdout`."""
        longer = max(1.0, seconds / (self.holdout * DAY))
        return replace(self, cut_every=round(self.cut_every * longer), horizon=round(self.horizon * longer))


DEFAULT = TrainingConfig()
