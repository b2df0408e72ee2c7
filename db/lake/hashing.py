"""Postgres' own hashes of texts and integers, over whole columns. It partitions tables by them, so they last."""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.uint32]
_START: Final = np.uint32(0x9E37_79B9 + 3_923_095)
_AT_ONCE: Final = 500_000  # rows
# Rounds of Jenkins' lookup3 as (x, y, z, bits): mixing does x -= z, x ^= z rotated, z += y.
_MIX: Final = ((0, 1, 2, 4), (1, 2, 0, 6), (2, 0, 1, 8), (0, 1, 2, 16), (1, 2, 0, 19), (2, 0, 1, 4))
_FINAL: Final = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def hash_texts(texts: pa.Array, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    """`hashtextextended(text, seed)` of each; no text may be null."""
    binary = texts.cast(pa.large_binary())
    offsets = np.frombuffer(binary.buffers()[1], np.int64)[binary.offset : binary.offset + len(binary) + 1]
    data = np.frombuffer(binary.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    hashes = np.empty(len(binary), np.int64)
    for length in np.unique(lengths).tolist():
        alike = np.flatnonzero(lengths == length)
        for start in range(0, len(alike), _AT_ONCE):
            rows = alike[start : start + _AT_ONCE]
            hashes[rows] = _hash(data[offsets[rows, None] + np.arange(length)], seeds[rows])
    return hashes


def hash_integers(values: NDArray[np.int64], seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    """`hashint8extended(value, seed)` of each."""
    high = (values >> 32).astype(np.uint32)
    folded = values.astype(np.uint32) ^ np.where(values >= 0, high, ~high)
    state = _seeded(4, seeds)
    state[0] += folded
    return _ended(state)


def _hash(bytes_: NDArray[np.uint8], seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of texts of one length: (rows, length)."""
    rows, length = bytes_.shape
    state = _seeded(length, seeds)
    whole = length // 12 * 12
    for start in range(0, whole, 12):
        words = np.ascontiguousarray(bytes_[:, start : start + 12]).view("<u4")
        for place in range(3):
            state[place] += words[:, place]
        _mix(state)
    rest = np.zeros((rows, 12), np.uint8)
    left = bytes_[:, whole:]
    rest[:, : min(left.shape[1], 8)] = left[:, :8]
    rest[:, 9 : 9 + max(left.shape[1] - 8, 0)] = left[:, 8:]  # the lowest byte of the last word is the length's
    for place, word in enumerate(rest.view("<u4").T):
        state[place] += word
    return _ended(state)


def _seeded(length: int, seeds: NDArray[np.int64]) -> list[Words]:
    state = [np.full(len(seeds), _START + np.uint32(length), np.uint32) for _ in range(3)]
    other = [word.copy() for word in state]
    other[0] += (seeds >> 32).astype(np.uint32)
    other[1] += seeds.astype(np.uint32)
    _mix(other)
    return [np.where(seeds == 0, plain, mixed) for plain, mixed in zip(state, other, strict=True)]


def _mix(state: list[Words]) -> None:
    for x, y, z, bits in _MIX:
        state[x] -= state[z]
        state[x] ^= _rotated(state[z], bits)
        state[z] += state[y]


def _ended(state: list[Words]) -> NDArray[np.int64]:
    for x, y, bits in _FINAL:
        state[x] ^= state[y]
        state[x] -= _rotated(state[y], bits)
    return (state[1].astype(np.int64) << 32) | state[2]


def _rotated(word: Words, bits: int) -> Words:
    return (word << np.uint32(bits)) | (word >> np.uint32(32 - bits))
