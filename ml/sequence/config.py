"""Every setting of the sequence net, and how they are chosen for a log that nobody has tuned them for."""

from dataclasses import dataclass

from ml.sequence.histories import Histories

FLOP = 32e12  # of a whole fitting: 6 to 9 minutes on two cores
FEWEST_STEPS = 2_000  # of a whole fitting; smaller batches give more
SHORT = 20.0  # lines of a person, on average, below which histories are short
MOST_FULL = 15_000  # with more items the softmax is over a sample of DRAWN
DRAWN = 4_096


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """Every setting of a net and of its fitting."""

    width: int = 64
    heads: int = 2
    blocks: int = 2
    hidden: int = 168  # of the gated layer
    length: int = 50  # the newest lines of a person that count
    dropout: float = 0.2
    embedding_dropout: float = 0.2
    rate: float = 3e-3
    final_rate: float = 0.02  # of the rate
    epochs: int = 25
    batch: int = 128  # windows
    most_full: int = MOST_FULL
    drawn: int = DRAWN
    seed: int = 7


def config_for(histories: Histories, items: int, seed: int, flop: float = FLOP) -> SequenceConfig:
    """The settings for a log, by its size alone.

    Short histories say little, so the net is smaller and drops more. A log that is too large for 25 epochs within
    `flop` operations gets fewer, in smaller batches; a small log gets smaller batches, too, so that there are enough
    steps.
    """
    lines = int(histories.lengths.sum())
    people = max(int((histories.lengths > 0).sum()), 1)
    short = lines / people < SHORT
    blocks, length, width, hidden = (1, 32, 64, 168) if short else (2, 50, 64, 168)
    softmax = width * (items if items <= MOST_FULL else DRAWN)
    layers = blocks * (4 * width**2 + 3 * width * hidden + 2 * length * width)
    epochs = int(min(25, max(5, flop / (6 * max(lines, 1) * (softmax + layers)))))
    batch = 128 if epochs >= 20 else 64
    while batch > 16 and expected_windows(histories, length) / batch * epochs < FEWEST_STEPS:
        batch //= 2
    return SequenceConfig(
        width=width,
        heads=blocks,
        blocks=blocks,
        hidden=hidden,
        length=length,
        dropout=0.3 if short else 0.2,
        embedding_dropout=0.5 if short else 0.2,
        rate=4e-3 if short else 3e-3,
        epochs=epochs,
        batch=batch,
        seed=seed,
    )


def expected_windows(histories: Histories, length: int) -> float:
    """The mean number of windows of an epoch."""
    return float((histories.lengths > 1).sum() + (histories.lengths - 2).clip(0).sum() / length)
