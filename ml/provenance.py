"""Where a model comes from: which code learned from which data. Equal data and code have equal digests."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.log import Log


def data_identity(log: Log, cut: int) -> dict[str, Any]:
    """The digest of all rows that a training was given, their counts, and the seconds that bound them, in words.

    A log is sorted, so that the order in which its rows were read does not matter. The digest names nobody.
    """
    digest = hashlib.sha256()
    for texts in (log.people, log.item_ids):
        for text in texts:
            digest.update(text.encode() + b"\0")
    columns = (log.numbers, log.person, log.item, log.occurred, log.cents, log.order, log.quantity, log.signals.person)
    for column in (*columns, log.signals.events, *(() if log.category is None else (log.category,))):
        digest.update(np.ascontiguousarray(column).tobytes())
    return {
        "sha256": digest.hexdigest(),
        "lines": len(log),
        "signals": len(log.signals.person),
        "orders": len(np.unique(log.order)),
        "people": len(np.unique(log.person)),
        "items": len(np.unique(log.item)),
        "from": _moment(int(log.occurred.min())),
        "until": _moment(int(log.occurred.max())),
        "cut": _moment(cut),
    }


def weights_identity(arrays: Sequence[NDArray[Any]]) -> str:
    """The digest of a network's weights."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def code_identity(packages: Mapping[str, str]) -> dict[str, str]:
    """Penchant's version, the digest of the sources that train, and the versions of Python and of the packages."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return {
        "penchant": _version(),
        "ml_sha256": digest.hexdigest(),
        "python": platform.python_version(),
        **packages,
    }


def _version() -> str:
    try:
        return version("penchant")
    except PackageNotFoundError:  # run from a folder that was not installed
        return "unknown"


def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
