"""The layers of the sequence net, in operations that every backend of Keras has."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

NEVER = -1e9  # added to the score of a later line, which nothing may look at


class ItemVectors(keras.layers.Layer):  # type: ignore[misc]
    """A vector for each item: its own plus the mean of those of its attributes. Inputs and outputs share them."""

    def __init__(self, items: int, width: int, attributes: NDArray[np.int32], **options: Any) -> None:
        """`attributes` are (items, k), padded with -1."""
        super().__init__(**options)
        self.items, self.width, self.codes = items, width, attributes
        self.share = np.where(attributes >= 0, 1 / np.maximum((attributes >= 0).sum(1, keepdims=True), 1), 0)

    def build(self, input_shape: Any = None) -> None:
        """Both tables."""
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.own = self.add_weight(shape=(self.items, self.width), initializer=small, name="own")
        kinds = int(self.codes.max(initial=-1)) + 1
        self.kinds = self.add_weight(shape=(kinds, self.width), initializer=small, name="kinds") if kinds else None

    def call(self, inputs: Any = None) -> Any:
        """(items, width)."""
        vectors = ops.cast(self.own, self.compute_dtype)
        if self.kinds is None:
            return vectors
        kinds = ops.take(ops.cast(self.kinds, self.compute_dtype), np.maximum(self.codes, 0), axis=0)
        return vectors + ops.sum(kinds * ops.cast(self.share[:, :, None], self.compute_dtype), axis=1)


class Attention(keras.layers.Layer):  # type: ignore[misc]
    """Causal self-attention with a learned bias for each distance between two lines (Shaw et al. 2018; Raffel 2020)."""

    def __init__(self, heads: int, length: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.length = heads, length

    def build(self, input_shape: Any) -> None:
        """The projections, and (heads, length) biases: 0 lines back, 1 line back..."""
        width = input_shape[-1]
        glorot = keras.initializers.GlorotUniform
        self.into = self.add_weight(shape=(width, 3 * width), initializer=glorot(), name="into")
        self.out = self.add_weight(shape=(width, width), initializer=glorot(), name="out")
        self.bias = self.add_weight(shape=(self.heads, self.length), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """(windows, length, width) -> the same."""
        length, width = inputs.shape[1], inputs.shape[2]
        size = width // self.heads
        parts = ops.reshape(ops.matmul(inputs, self.into), (-1, length, 3 * self.heads, size))
        parts = ops.transpose(parts, (0, 2, 1, 3))  # (windows, 3 x heads, length, size)
        query, key, value = ops.split(parts, 3, axis=1)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * (size**-0.5)
        back = np.arange(length)[:, None] - np.arange(length)[None]  # lines from one back to the other
        bias = ops.take(self.bias, np.maximum(back, 0), axis=1) + ops.cast(np.where(back < 0, NEVER, 0), scores.dtype)
        shares = ops.softmax(scores + bias[None], axis=-1)
        mixed = ops.reshape(ops.transpose(ops.matmul(shares, value), (0, 2, 1, 3)), (-1, length, width))
        return ops.matmul(mixed, self.out)


class Gated(keras.layers.Layer):  # type: ignore[misc]
    """A feed-forward layer with a SiLU gate (SwiGLU; Shazeer 2020)."""

    def __init__(self, hidden: int, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = hidden

    def build(self, input_shape: Any) -> None:
        """Both kernels; the first holds the gate and what it lets through."""
        width = input_shape[-1]
        glorot = keras.initializers.GlorotUniform
        self.into = self.add_weight(shape=(width, 2 * self.hidden), initializer=glorot(), name="into")
        self.out = self.add_weight(shape=(self.hidden, width), initializer=glorot(), name="out")

    def call(self, inputs: Any) -> Any:
        """(windows, length, width) -> the same."""
        gate, through = ops.split(ops.matmul(inputs, self.into), 2, axis=-1)
        return ops.matmul(ops.silu(gate) * through, self.out)


class Block(keras.layers.Layer):  # type: ignore[misc]
    """Attention, then the gated layer, each on the normalised input and added to it (pre-norm)."""

    def __init__(self, heads: int, length: int, hidden: int, dropout: float, **options: Any) -> None:
        super().__init__(**options)
        dtype = self.dtype_policy
        self.before = keras.layers.RMSNormalization(epsilon=EPSILON, dtype=dtype)
        self.attention = Attention(heads, length, dtype=dtype)
        self.between = keras.layers.RMSNormalization(epsilon=EPSILON, dtype=dtype)
        self.gated = Gated(hidden, dtype=dtype)
        self.dropout = keras.layers.Dropout(dropout, dtype=dtype)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """(windows, length, width) -> the same."""
        seen = inputs + self.dropout(self.attention(self.before(inputs)), training=training)
        return seen + self.dropout(self.gated(self.between(seen)), training=training)


EPSILON = 1e-6  # of the mean square, in the normalisation
