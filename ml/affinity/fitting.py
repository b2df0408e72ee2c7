"""The affinity ranker in Keras: a small dense network over pair features, fitted to rank bought items first."""

from collections.abc import Callable, Collection, Sequence

import keras
import numpy as np
import tensorflow as tf

from ml.affinity.pair_features import FEATURES
from ml.affinity.training_lists import TrainingLists

LISTWISE = 0.04  # weight of the listwise part of the loss
LAMBDA = 0.02  # weight of the part that follows NDCG
TOP = 30  # candidates whose places that part looks at
LEAST_VARIANCE = 1e-6  # a feature that varies less is constant: nothing can be learned from it
IGNORED = 1e12  # the variance given to it; with its own, another value in serving would drown all other features


def ranking_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Per list: binary cross-entropy of each candidate, plus two parts that look at the list as a whole.

    LISTWISE x cross-entropy between basket and softmax, and LAMBDA x what is lost of NDCG (`lambda_loss`).

    The first part keeps the logits near to log odds. The second gives every person the same weight, whatever the size
    of the basket, as NDCG does (ListNet; Cao et al. 2007). `labels` (lists, length) are 1, 0 or negative for padding.
    """
    real = labels >= 0
    bought = tf.where(real, labels, 0.0)
    pointwise = tf.nn.sigmoid_cross_entropy_with_logits(labels=bought, logits=logits)
    pointwise = tf.reduce_sum(tf.where(real, pointwise, 0.0), 1) / tf.reduce_sum(tf.cast(real, tf.float32), 1)
    share = bought / tf.reduce_sum(bought, 1, keepdims=True)
    listwise = -tf.reduce_sum(share * tf.nn.log_softmax(tf.where(real, logits, -1e9)), 1)
    return pointwise + LISTWISE * listwise + LAMBDA * lambda_loss(bought, tf.where(real, logits, -1e9))


def lambda_loss(bought: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Per list: softplus of each wrong difference of two logits, by how much their places change the DCG.

    Pairs are of the TOP first candidates, one bought and one not; the sum is over the ideal DCG (LambdaRank; Burges et
    al. 2006). `bought` (lists, length) is 1 or 0; each list has at least one 1, and paddings have a logit of -1e9.
    """
    length = bought.shape[1]
    discount = tf.constant(1 / np.log2(np.arange(2, length + 2)), tf.float32)
    first = min(TOP, length)
    score, index = tf.math.top_k(logits, first)
    hit = tf.gather(bought, index, batch_dims=1)
    wrong = hit[:, :, None] * (1 - hit[:, None, :])  # (lists, first, first)
    change = tf.abs(discount[:first, None] - discount[None, :first])
    lost = wrong * change * tf.nn.softplus(tf.maximum(score[:, None, :], -1e3) - score[:, :, None])
    count = tf.cast(tf.reduce_sum(bought, 1), tf.int32)
    ideal = tf.gather(tf.cumsum(discount), tf.maximum(count, 1) - 1)
    return tf.reduce_sum(lost, (1, 2)) / ideal


def build_ranker(mean: np.ndarray, variance: np.ndarray, hidden: tuple[int, ...]) -> keras.Model:
    """(lists, length, FEATURES) -> logits (lists, length); the model scales the features itself."""
    features = keras.Input((None, len(FEATURES)), name="features")
    layer = keras.layers.Normalization(mean=mean, variance=variance, name="scaled")(features)
    for width in hidden:
        layer = keras.layers.Dense(width, activation="relu")(layer)
    logits = keras.layers.Dense(1)(layer)
    return keras.Model(features, keras.ops.squeeze(logits, -1))


def average(models: Sequence[keras.Model]) -> keras.Model:
    """One model whose logits are the mean of those of several: it ranks better than any of them."""
    features = keras.Input((None, len(FEATURES)), name="features")
    return keras.Model(features, keras.layers.Average()([model(features) for model in models]), name="average")


def fit(
    lists: TrainingLists,
    *,
    hidden: tuple[int, ...],
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    epoch_done: Callable[[int], None],
    ignored: Collection[str] = (),
) -> keras.Model:
    """A ranker fitted to lists; the same seed gives the same weights on the same machine.

    The features named by `ignored` count for nothing, whatever their values are in serving.
    """
    keras.utils.set_random_seed(seed)
    real = lists.features[lists.labels >= 0]
    mean, variance = real.mean(0, dtype=np.float64), real.var(0, dtype=np.float64)
    constant = (variance < LEAST_VARIANCE) | np.isin(FEATURES, list(ignored))
    model = build_ranker(mean, np.where(constant, IGNORED, variance + 1e-6), hidden)
    steps = max(1, -(-len(lists) // batch) * epochs)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(keras.optimizers.Adam(schedule), ranking_loss)
    progress = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch_done(epoch + 1))
    model.fit(lists.features, lists.labels, batch_size=batch, epochs=epochs, verbose=0, callbacks=[progress])
    return model
