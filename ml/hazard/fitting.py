"""The hazard net in Keras: a small dense network from a person's features to the weekly chances of an order."""

from collections.abc import Callable

import keras
import numpy as np
from keras import KerasTensor, ops

from ml.affinity.fitting import IGNORED, LEAST_VARIANCE
from ml.hazard.examples import BINS, Floats, Outcomes
from ml.hazard.features import FEATURES

PATIENCE = 5  # epochs without a better one, after which it stops; the first ones are noisy
DECAY = 0.1  # of the weights, per step and times the learning rate


def hazard_loss(outcomes: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Per person: the negative log likelihood of the weeks (Gensheimer and Narasimhan 2019).

    `outcomes` (people, 2 x BINS) are the weeks at risk, then the bin of the order; `logits` (people, BINS).
    """
    at_risk, ordered = outcomes[:, :BINS], outcomes[:, BINS:]
    return ops.sum(at_risk * ops.softplus(logits) - ordered * logits, axis=1)


def build_net(mean: np.ndarray, variance: np.ndarray, hidden: tuple[int, ...], rate: np.ndarray) -> keras.Model:
    """(people, FEATURES) -> logits (people, BINS); it scales the features itself and begins at the overall rates."""
    features = keras.Input((len(FEATURES),), name="features")
    layer = keras.layers.Normalization(mean=mean, variance=variance, name="scaled")(features)
    for width in hidden:
        layer = keras.layers.Dense(width, activation="relu")(layer)
    start = keras.initializers.Constant(np.log(rate / (1 - rate)))
    return keras.Model(features, keras.layers.Dense(BINS, bias_initializer=start)(layer))


def fit(
    features: Floats,
    outcomes: Outcomes,
    *,
    validation: tuple[Floats, Outcomes] | None,
    ignored: np.ndarray,
    hidden: tuple[int, ...],
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    epoch_done: Callable[[int], None],
) -> keras.Model:
    """A net fitted to people; with a validation span its weights are those of the best epoch there.

    The features marked in `ignored` (FEATURES,) count for nothing. The same seed gives the same weights on the same
    machine.
    """
    keras.utils.set_random_seed(seed)
    mean, variance = features.mean(0, dtype=np.float64), features.var(0, dtype=np.float64)
    variance = np.where((variance < LEAST_VARIANCE) | ignored, IGNORED, variance + 1e-6)
    rate = (outcomes.ordered.sum(0) + 0.5) / (outcomes.at_risk.sum(0) + 10)
    net = build_net(mean, variance, hidden, rate)
    steps = max(1, -(-len(features) // batch) * epochs)
    optimizer = keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(learning_rate, steps), weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    net.compile(optimizer, hazard_loss)
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch_done(epoch + 1))
    ]
    held = None
    if validation is not None and len(validation[0]):
        held = (validation[0], np.concatenate(validation[1], axis=1))
        callbacks.append(keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True))
    targets = np.concatenate(outcomes, axis=1)
    net.fit(features, targets, batch_size=batch, epochs=epochs, verbose=0, callbacks=callbacks, validation_data=held)
    return net
