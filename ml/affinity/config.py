"""Every setting of a training of the affinity model."""

from dataclasses import dataclass

from ml.splits import HOLDOUT


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Every setting of a training."""

    item_limit: int = 10_000  # items with the most purchases; the network ranks no other
    cuts: int | None = None  # training windows; None: see `ml.splits.windows_for`
    cut_every: int = 14  # days between their starts
    horizon: int = 14  # days of a window; the validation span has two of them
    holdout: int = HOLDOUT  # days at the end of the log kept for evaluation when no orders after it are given
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


DEFAULT = TrainingConfig()
