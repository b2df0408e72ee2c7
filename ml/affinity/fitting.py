"""The affinity ranker in Keras: a small dense network over pair features, fitted to rank bought items first."""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import NDArray

from ml.affinity.pair_features import FEATURES
from ml.affinity.training_lists import TrainingLists

LISTWISE = 0.04  # weight of the listwise part of the loss
LAMBDA = 0.02  # weight of the part that follows NDCG
TOP = 30  # candidates whose places that part looks at
LEAST_VARIANCE = 1e-6  # a feature that varies less is constant: nothing can be learned from it
STEPS = 16  # of fitting that Keras makes in one call: small steps cost less than the call
PART = 1_024  # lists whose features are widened to 64 bits at a time
IGNORED = 1e12  # the variance given to it; with its own, another value in serving would drown all other features
_one_at_a_time = Lock()


def ranking_loss(labels: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Per list: binary cross-entropy of each candidate, plus two parts that look at the list as a whole.

    LISTWISE x cross-entropy between basket and softmax, and LAMBDA x what is lost of NDCG (`lambda_loss`).

    The first part keeps the logits near to log odds. The second gives every person the same weight, whatever the size
    of the basket, as NDCG does (ListNet; Cao et al. 2007). `labels` (lists, length) are 1, 0 or negative for padding.
    """
    real = labels >= 0
    bought = ops.where(real, labels, 0.0)
    pointwise = ops.where(real, ops.softplus(logits) - bought * logits, 0.0)  # binary cross-entropy
    pointwise = ops.sum(pointwise, 1) / ops.sum(ops.cast(real, "float32"), 1)
    share = bought / ops.sum(bought, 1, keepdims=True)
    listwise = -ops.sum(share * ops.log_softmax(ops.where(real, logits, -1e9)), 1)
    return pointwise + LISTWISE * listwise + LAMBDA * lambda_loss(bought, ops.where(real, logits, -1e9))


def lambda_loss(bought: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Per list: softplus of each wrong difference of two logits, by how much their places change the DCG.

    Pairs are of the TOP first candidates, one bought and one not; the sum is over the ideal DCG (LambdaRank; Burges et
    al. 2006). `bought` (lists, length) is 1 or 0; each list has at least one 1, and paddings have a logit of -1e9.
    """
    length = bought.shape[1]
    discount = (1 / np.log2(np.arange(2, length + 2))).astype(np.float32)
    first = min(TOP, length)
    score, index = ops.top_k(logits, first)
    hit = ops.take_along_axis(bought, index, axis=1)
    wrong = hit[:, :, None] * (1 - hit[:, None, :])  # (lists, first, first)
    change = np.abs(discount[:first, None] - discount[None, :first])
    lost = wrong * change * ops.softplus(ops.maximum(score[:, None, :], -1e3) - score[:, :, None])
    count = ops.cast(ops.sum(bought, 1), "int32")
    ideal = ops.take(np.cumsum(discount), ops.maximum(count, 1) - 1)
    return ops.sum(lost, (1, 2)) / ideal


class Scaled(keras.layers.Layer):  # type: ignore[misc]
    """Features less their mean, over their deviation. Both are weights, so a compiled model can take other ones."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Weights (FEATURES,)."""
        self.mean = self.add_weight(shape=shape[-1:], initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=shape[-1:], initializer="ones", trainable=False, name="variance")

    def call(self, features: KerasTensor) -> KerasTensor:
        """(.., FEATURES) -> the same shape."""
        return (features - self.mean) / ops.sqrt(self.variance)


class Falling(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A rate that falls to 0 by half a cosine in `steps`; both are variables of a compiled model."""

    def __init__(self) -> None:
        self.rate = keras.Variable(0.0, trainable=False)
        self.steps = keras.Variable(1.0, trainable=False)

    def __call__(self, step: KerasTensor) -> KerasTensor:
        """The rate of a step."""
        done = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return 0.5 * self.rate * (1 + ops.cos(np.pi * done))


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The lists in another order each epoch. Features become 32-bit a batch at a time: Keras would copy all of them."""

    def __init__(self, lists: TrainingLists, batch: int, seed: int) -> None:
        super().__init__()
        self.lists, self.batch, self.seed = lists, batch, seed
        self.shuffle(0)

    def shuffle(self, epoch: int) -> None:
        """The order of an epoch; drawn by its number, since Keras begins the first one twice when a model is new."""
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.lists))

    def __len__(self) -> int:
        return max(1, -(-len(self.lists) // self.batch))

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(batch, length, FEATURES) and (batch, length)."""
        part = self.order[index * self.batch : (index + 1) * self.batch]
        return self.lists.features[part].astype(np.float32), self.lists.labels[part]


def build_ranker(mean: np.ndarray, variance: np.ndarray, hidden: tuple[int, ...]) -> keras.Model:
    """(lists, length, FEATURES) -> logits (lists, length); the model scales the features itself."""
    features = keras.Input((None, len(FEATURES)), name="features")
    scaled = Scaled(name="scaled")
    layer = scaled(features)
    for width in hidden:
        layer = keras.layers.Dense(width, activation="relu")(layer)
    logits = keras.layers.Dense(1)(layer)
    scaled.set_weights([mean, variance])
    return keras.Model(features, ops.squeeze(logits, -1))


@lru_cache(maxsize=2)
def _compiled(hidden: tuple[int, ...], length: int) -> tuple[keras.Model, Falling]:
    """A compiled ranker that every fit uses in turn: of a small log TensorFlow traces longer than it fits.

    It is for lists of one length: the loss needs to know it, and TensorFlow forgets it when it traces for another one.
    """
    model, falling = build_ranker(np.zeros(len(FEATURES)), np.ones(len(FEATURES)), hidden), Falling()
    optimizer = keras.optimizers.Adam(falling)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, ranking_loss, steps_per_execution=STEPS)
    return model, falling


def average(models: Sequence[keras.Model]) -> keras.Model:
    """One model whose logits are the mean of those of several: it ranks better than any of them."""
    features = keras.Input((None, len(FEATURES)), name="features")
    return keras.Model(features, keras.layers.Average()([model(features) for model in models]), name="average")


class Fitted(NamedTuple):
    """A fitted model, with its weights after some of the epochs."""

    model: keras.Model
    stops: dict[int, list[NDArray[np.float32]]]  # epochs -> weights; the first is taken where nothing speaks for others

    def after(self, epochs: int) -> keras.Model:
        """The model with its weights after so many epochs, one of `stops`."""
        self.model.set_weights(self.stops[epochs])
        return self.model


def fit(
    lists: TrainingLists,
    *,
    hidden: tuple[int, ...],
    epochs: int,
    last: int | None = None,
    stops: Sequence[int] = (),
    batch: int,
    learning_rate: float,
    seed: int,
    epoch_done: Callable[[int], None],
    ignored: Collection[str] = (),
) -> Fitted:
    """A ranker fitted to lists; the same seed gives the same weights on the same machine.

    The weights after each number of epochs of `stops` are kept; without any, those at the end. The rate falls as if
    there were `epochs`; fitting ends after `last` of them.

    The features named by `ignored` count for nothing, whatever their values are in serving.
    """
    mean, variance = _moments(lists)
    constant = (variance < LEAST_VARIANCE) | np.isin(FEATURES, list(ignored))
    keras.utils.set_random_seed(seed)
    own = build_ranker(mean, np.where(constant, IGNORED, variance + 1e-6), hidden)
    kept: dict[int, list[NDArray[np.float32]]] = {each: [] for each in stops or (epochs,)}
    with _one_at_a_time:
        model, falling = _compiled(hidden, lists.labels.shape[1])
        model.set_weights(own.get_weights())
        for variable in model.optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        falling.rate.assign(learning_rate)
        batches = Batches(lists, batch, seed)
        falling.steps.assign(len(batches) * epochs)

        def end_epoch(epoch: int, logs: object) -> None:
            if epoch + 1 in kept:
                kept[epoch + 1] = model.get_weights()
            epoch_done(epoch + 1)

        progress = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: batches.shuffle(epoch), on_epoch_end=end_epoch
        )
        model.fit(batches, epochs=last or epochs, shuffle=False, verbose=0, callbacks=[progress])
        own.set_weights(model.get_weights())
    return Fitted(own, kept)


def _moments(lists: TrainingLists) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(FEATURES,) mean and variance of the features of all pairs that are no padding.

    They are read a part at a time: all of them as 64-bit numbers would take twice the memory of the lists.
    """
    count, total = 0, np.zeros(len(FEATURES))
    parts = [slice(start, start + PART) for start in range(0, len(lists), PART)]
    for part in parts:
        real = lists.features[part][lists.labels[part] >= 0]
        count, total = count + len(real), total + real.sum(0, dtype=np.float64)
    mean, squares = total / max(count, 1), np.zeros(len(FEATURES))
    for part in parts:
        real = lists.features[part][lists.labels[part] >= 0]
        squares += ((real - mean) ** 2).sum(0)
    return mean, squares / max(count, 1)
