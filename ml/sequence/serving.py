"""The sequence net as it serves: plain arrays and NumPy, without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle, BundleRefused
from ml.sequence.histories import Rows

Floats = NDArray[np.float32]

PART = "sequence_"  # how the names of its parts of a bundle begin
EPSILON = np.float32(1e-6)  # of the mean square, in the normalisation


@dataclass(frozen=True, eq=False)
class SequenceNet:
    """The fitted weights; the scales of the normalisations are part of the kernels that follow them."""

    vectors: Floats  # (items, width)
    into: Floats  # (blocks, width, 3 x width): query, key and value of all heads
    out: Floats  # (blocks, width, width)
    bias: Floats  # (blocks, heads, length): of the line itself, of the one before it...
    gate: Floats  # (blocks, width, 2 x hidden)
    through: Floats  # (blocks, hidden, width)
    last: Floats  # (width,) the scale of the last normalisation

    @property
    def length(self) -> int:
        """The newest lines of a person that count."""
        return int(self.bias.shape[2])

    def person_vector(self, rows: Rows) -> Floats:
        """(width,) what is expected after these items, the newest last; zeros after none."""
        seen = self.vectors.take(rows[-self.length :], axis=0) * np.float32(self.vectors.shape[1] ** 0.5)
        if not len(seen):
            return np.zeros_like(self.last)
        blocks = len(self.into)
        for block in range(blocks):
            seen = self._attended(seen, block, block == blocks - 1)
            both = _normal(seen) @ self.gate[block]
            hidden = both.shape[1] // 2
            gate = both[:, :hidden]
            seen = seen + (gate / (1 + np.exp(-gate)) * both[:, hidden:]) @ self.through[block]
        vector: Floats = _normal(seen[-1:])[0] * self.last
        return vector

    def logits(self, rows: Rows) -> Floats:
        """(items,) how likely each item is the next one after these; higher is more likely."""
        logits: Floats = self.vectors @ self.person_vector(rows)
        return logits

    def _attended(self, seen: Floats, block: int, last_only: bool) -> Floats:
        """The lines with what they take from the lines before; of the last block only the last line is needed."""
        length, width = seen.shape
        heads = self.bias.shape[1]
        parts = (_normal(seen) @ self.into[block]).reshape(length, 3, heads, width // heads).transpose(1, 2, 0, 3)
        first = length - 1 if last_only else 0
        back = np.arange(first, length)[:, None] - np.arange(length)[None]
        bias = np.where(back < 0, np.float32(-1e9), self.bias[block].take(np.maximum(back, 0), axis=1))
        scores = parts[0][:, first:] @ parts[1].transpose(0, 2, 1) + bias  # (heads, lines, length)
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        mixed = (shares @ parts[2]).transpose(1, 0, 2).reshape(-1, width)
        attended: Floats = seen[first:] + mixed @ self.out[block]
        return attended

    def parts(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names in a bundle."""
        return {f"{PART}{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def read(cls, opened: Bundle) -> Self:
        """The net of a bundle. Raises `BundleRefused` when its arrays are missing or do not fit together."""
        net = cls(**{field.name: opened.array(f"{PART}{field.name}") for field in fields(cls)})
        if not net._fits():
            raise BundleRefused(f"bundle {opened.id}: the arrays of its sequence net do not fit together")
        return net

    def _fits(self) -> bool:
        shapes: Mapping[str, tuple[int, ...]] = {field.name: getattr(self, field.name).shape for field in fields(self)}
        if [len(shapes[field.name]) for field in fields(self)] != [2, 3, 3, 3, 3, 3, 1]:
            return False
        blocks, width, hidden = len(self.into), self.vectors.shape[1], self.through.shape[1]
        heads, length = self.bias.shape[1:]
        expected = {
            "into": (blocks, width, 3 * width),
            "out": (blocks, width, width),
            "bias": (blocks, heads, length),
            "gate": (blocks, width, 2 * hidden),
            "through": (blocks, hidden, width),
            "last": (width,),
        }
        return (
            blocks > 0 and heads > 0 and width % heads == 0 and all(shapes[name] == expected[name] for name in expected)
        )


def _normal(seen: Floats) -> Floats:
    """Each row over the root of its mean square."""
    square = np.einsum("ij,ij->i", seen, seen) / np.float32(seen.shape[1])
    normal: Floats = seen / np.sqrt(square + EPSILON)[:, None]
    return normal
