"""Export of the fitted net to the arrays that serve, and the proof that both rank alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import PenchantError
from ml.sequence.fitting import SequenceModel
from ml.sequence.histories import Rows
from ml.sequence.serving import Floats, SequenceNet

TOLERANCE = 1e-4  # of a logit, in units of the largest one
TOP = 100  # items whose order is compared


class SequenceExportDiffers(PenchantError):
    """The exported sequence net does not rank like the Keras model."""


def exported(model: SequenceModel) -> SequenceNet:
    """The model's weights, with the scales of the normalisations and of the attention folded into the kernels."""
    into, out, bias, gate, through = [], [], [], [], []
    for block in model.blocks:
        attention, gated = block.attention, block.gated
        kernel = _array(attention.into) * _array(block.before.scale)[:, None]
        width = kernel.shape[0]
        kernel[:, :width] *= (width // attention.heads) ** -0.5
        into.append(kernel)
        out.append(_array(attention.out))
        bias.append(_array(attention.bias))
        gate.append(_array(gated.into) * _array(block.between.scale)[:, None])
        through.append(_array(gated.out))
    return SequenceNet(
        vectors=_array(model.vectors(None)),
        into=np.stack(into),
        out=np.stack(out),
        bias=np.stack(bias),
        gate=np.stack(gate),
        through=np.stack(through),
        last=_array(model.last.scale),
    )


def _array(weights: Any) -> Floats:
    array: Floats = np.asarray(weights, np.float32)
    return array


def check_parity(model: SequenceModel, net: SequenceNet, histories: Sequence[Rows]) -> float:
    """The largest difference of a logit over real histories, in units of the largest logit.

    Raises `SequenceExportDiffers` when it is above TOLERANCE, or when the first TOP items are not in the order of Keras
    (apart from equal scores).
    """
    worst = 0.0
    for rows in filter(len, histories):
        ours, theirs = net.logits(rows), _keras_logits(model, rows[-net.length :], net.length)
        scale = float(np.abs(theirs).max())
        difference = float(np.abs(ours - theirs).max()) / scale
        in_our_order = theirs[np.argsort(-ours, kind="stable")[:TOP]]
        if not difference <= TOLERANCE or (np.diff(in_our_order) > TOLERANCE * scale).any():  # also for NaN
            raise SequenceExportDiffers(f"the exported sequence net differs from the Keras model by {difference:.2g}")
        worst = max(worst, difference)
    return worst


def _keras_logits(model: SequenceModel, rows: Rows, length: int) -> Floats:
    items = np.pad(rows, (0, length - len(rows)))[None]
    logits = model({"items": items, "places": np.array([len(rows) - 1], np.int32)}, training=False)
    return _array(logits[0])
