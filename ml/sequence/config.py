"""Every setting of the sequence net, and which are chosen for a log that nobody has tuned for."""

from dataclasses import dataclass


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
    most_full: int = 15_000  # with more items the softmax is over a sample
    drawn: int = 4_096  # items of that sample
    precision: str = "float32"
    seed: int = 7
