"""Every setting of the sequence net, and how they are chosen for a log that nobody has tuned them for."""

from dataclasses import dataclass, replace

from ml.sequence.histories import Histories

FLOP = 52e12  # of a whole fitting: 12 to 20 minutes on two cores
COMPILED = 1e12  # operations from which on compiling the net first, about 10 s, is worth it
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
    small = {"heads": 1, "blocks": 1, "length": 32, "dropout": 0.3, "embedding_dropout": 0.5, "rate": 4e-3}
    config = SequenceConfig(seed=seed, **(small if short else {}))  # type: ignore[arg-type]
    epochs = int(min(25, max(5, flop / max(epoch_flop(lines, items, config), 1))))
    batch = 128 if epochs >= 20 else 64
    while batch > 16 and expected_windows(histories, config.length) / batch * epochs < FEWEST_STEPS:
        batch //= 2
    return replace(config, epochs=epochs, batch=batch)


def epoch_flop(lines: int, items: int, config: SequenceConfig) -> float:
    """Operations of one epoch, forwards and backwards."""
    softmax = config.width * (items if items <= config.most_full else config.drawn)
    attention = 4 * config.width**2 + 2 * config.length * config.width
    return 6.0 * lines * (softmax + config.blocks * (attention + 3 * config.width * config.hidden))


def expected_windows(histories: Histories, length: int) -> float:
    """The mean number of windows of an epoch."""
    return float((histories.lengths > 1).sum() + (histories.lengths - 2).clip(0).sum() / length)
