"""The sequence net in Keras: fitted to foretell each line of a history from those before it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from ml.sequence.config import COMPILED, SequenceConfig, epoch_flop, expected_windows
from ml.sequence.histories import Histories, Windows
from ml.sequence.layers import EPSILON, Block, ItemVectors

SPREADS = 3.5  # standard deviations above the mean that a batch has room for


class SequenceModel(keras.Model):  # type: ignore[misc]
    """Windows of items -> at some of their places, a logit for each item that may follow."""

    def __init__(self, items: int, attributes: NDArray[np.int32], config: SequenceConfig) -> None:
        """`attributes` are (items, k) codes, padded with -1."""
        super().__init__()
        self.vectors = ItemVectors(items, config.width, attributes, name="vectors")
        self.embedded = keras.layers.Dropout(config.embedding_dropout)
        self.blocks = [
            Block(config.heads, config.length, config.hidden, config.dropout, name=f"block_{index}")
            for index in range(config.blocks)
        ]
        self.last = keras.layers.RMSNormalization(epsilon=EPSILON, name="last")

    def read(self, items: Any, vectors: Any, training: bool = False) -> Any:
        """(windows, length) rows of items -> (windows, length, width): what is expected after each."""
        seen = self.embedded(ops.take(vectors, items, axis=0) * vectors.shape[1] ** 0.5, training=training)
        for block in self.blocks:
            seen = block(seen, training=training)
        return self.last(seen)

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Logits (p, items) after some places (p,) of the windows `items` (windows, length).

        With `drawn` (k,) the logits are those of the target (p,) and of the drawn items: (p, 1 + k).
        """
        vectors = self.vectors(None)
        seen = self.read(inputs["items"], vectors, training=training)
        seen = ops.take(ops.reshape(seen, (-1, seen.shape[-1])), inputs["places"], axis=0)
        if "drawn" not in inputs:
            return ops.cast(ops.matmul(seen, ops.transpose(vectors)), "float32")
        target = ops.sum(seen * ops.take(vectors, inputs["targets"], axis=0), axis=1, keepdims=True)
        others = ops.cast(ops.matmul(seen, ops.transpose(ops.take(vectors, inputs["drawn"], axis=0))), "float32")
        others = others - inputs["expected"][None]  # the logQ correction
        same = ops.equal(inputs["targets"][:, None], inputs["drawn"][None])
        return ops.concatenate([ops.cast(target, "float32"), ops.where(same, -1e9, others)], axis=1)


def cross_entropy(targets: Any, logits: Any) -> Any:
    """The mean over the places whose target is not negative."""
    real = ops.cast(targets >= 0, "float32")
    lost = ops.sparse_categorical_crossentropy(ops.maximum(targets, 0), logits, from_logits=True)
    return ops.sum(lost * real) / ops.maximum(ops.sum(real), 1.0)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The windows of one epoch after another, each cut anew."""

    def __init__(self, histories: Histories, items: int, config: SequenceConfig) -> None:
        super().__init__()
        self.histories, self.config = histories, config
        self.random = np.random.default_rng(config.seed)
        count = np.bincount(histories.rows, minlength=items) + 1.0
        self.chance = np.cumsum(count**0.75 / (count**0.75).sum())  # of an item to be drawn
        self.sampled = items > config.most_full
        self.batches = max(1, round(expected_windows(histories, config.length) / config.batch))
        self.room = 0
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Cut the windows of the next epoch."""
        self.windows = Windows.cut(self.histories, self.config.length, self.random)
        self.order = self.random.permutation(len(self.windows))
        lengths = (self.windows.targets >= 0).sum(1)
        likely = self.config.batch * lengths.mean() + SPREADS * self.config.batch**0.5 * lengths.std()
        self.room = self.room or int(min(likely, self.config.batch * self.config.length)) // 64 * 64 + 64

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> tuple[dict[str, Any], NDArray[np.int32]]:
        """One batch; all have the same shapes. What there is no room for is left out, this time."""
        part = self.order[index * self.config.batch : (index + 1) * self.config.batch]
        items = np.zeros((self.config.batch, self.config.length), np.int32)
        items[: len(part)] = self.windows.items[part]
        wanted = self.windows.targets[part].ravel()
        places = np.flatnonzero(wanted >= 0)[: self.room].astype(np.int32)
        missing = (0, self.room - len(places))
        targets = np.pad(wanted[places], missing, constant_values=-1)
        inputs = {"items": items, "places": np.pad(places, missing)}
        if not self.sampled:
            return inputs, targets
        drawn = np.searchsorted(self.chance, self.random.random(self.config.drawn)).astype(np.int32)
        often = np.diff(self.chance, prepend=0)[drawn] * self.config.drawn
        inputs |= {"targets": np.maximum(targets, 0), "drawn": drawn, "expected": np.log(often).astype(np.float32)}
        return inputs, np.minimum(targets, 0)  # the target is the first of the logits


def fit(
    histories: Histories,
    items: int,
    attributes: NDArray[np.int32],
    config: SequenceConfig,
    epoch_done: Callable[[int], None],
) -> SequenceModel:
    """A net fitted to histories, with its averaged weights; the same seed gives the same net on the same machine."""
    keras.utils.set_random_seed(config.seed)
    model = SequenceModel(items, attributes, config)
    batches = Batches(histories, items, config)
    steps = max(10, len(batches) * config.epochs)
    warm = steps // 10
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm, alpha=config.final_rate, warmup_target=config.rate, warmup_steps=warm
    )
    optimizer = keras.optimizers.Adam(
        schedule, beta_2=0.98, global_clipnorm=5.0, use_ema=True, ema_momentum=min(0.999, 1 - 5 / steps)
    )
    whole = config.epochs * epoch_flop(len(histories.rows), items, config)
    model.compile(optimizer, cross_entropy, jit_compile=whole > COMPILED)
    progress = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch_done(epoch + 1))
    model.fit(batches, epochs=config.epochs, verbose=0, callbacks=[progress])
    return model
