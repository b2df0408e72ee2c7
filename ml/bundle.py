"""A trained model as one immutable folder: arrays, item ids, evaluation, and a manifest with every digest."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import PenchantError
from ml.features import FEATURES
from ml.network import Network
from ml.universe import COLUMNS, Universe

FORMAT = 1
MANIFEST = "manifest.json"
_ARRAYS = ("numbers", "columns", "rest", "near", "near_score", "next", "next_score", "popular")


class BundleRefused(PenchantError):
    """A model bundle is not what its manifest says."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """What one training run made; arrays are memory-mapped and shared between processes."""

    id: str
    created_at: datetime
    digest: str  # sha256 over the digests of all files
    universe: Universe
    network: Network
    item_ids: list[str]  # of universe.numbers, in order
    rfm_edges: NDArray[np.float64]  # (3, 4), for ml.rfm.score
    evaluation: dict[str, Any]

    @property
    def numbers(self) -> NDArray[np.uint32]:
        """(n,) catalogue numbers of the items it can rank."""
        return self.universe.numbers

    @cached_property
    def popular(self) -> NDArray[np.uint32]:
        """(n,) catalogue numbers, most bought first."""
        return self.universe.numbers[self.universe.popular]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Check every file against the manifest and map it. Raises `BundleRefused` naming what is wrong."""
        manifest = _manifest(path)
        for name, digest in manifest["files"].items():
            _check(path / name, digest)
        try:
            arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in _ARRAYS}
            bundle = cls(
                id=manifest["id"],
                created_at=datetime.fromisoformat(manifest["created_at"]),
                digest=_digest(manifest["files"]),
                universe=Universe(**arrays),
                network=_network(path),
                item_ids=json.loads((path / "items.json").read_text()),
                rfm_edges=np.load(path / "rfm_edges.npy"),
                evaluation=json.loads((path / "evaluation.json").read_text()),
            )
        except (KeyError, ValueError, OSError) as error:
            raise BundleRefused(f"bundle {path.name}: {error}") from error
        _check_shapes(bundle)
        return bundle


def write(
    folder: Path,
    universe: Universe,
    network: Network,
    *,
    item_ids: list[str],
    rfm_edges: NDArray[np.float64],
    evaluation: dict[str, Any],
    created_at: datetime,
) -> Path:
    """Write a bundle below `folder` and return its path, whose name is the bundle's id.

    It is complete or not there: files are written and synced under a temporary name, which is then renamed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        for name in _ARRAYS:
            _save(temporary / f"{name}.npy", getattr(universe, name))
        for index, (kernel, bias) in enumerate(zip(network.kernels, network.biases, strict=True)):
            _save(temporary / f"kernel_{index}.npy", kernel)
            _save(temporary / f"bias_{index}.npy", bias)
        _save(temporary / "rfm_edges.npy", rfm_edges)
        _write(temporary / "items.json", json.dumps(item_ids, ensure_ascii=False).encode())
        _write(temporary / "evaluation.json", json.dumps(evaluation, indent=2).encode())
        return _seal(temporary, created_at)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _seal(temporary: Path, created_at: datetime) -> Path:
    """Add the manifest and give the folder its name."""
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(temporary.iterdir())}
    bundle_id = f"affinity-{created_at:%Y%m%dT%H%M%S}-{_digest(files)[:10]}"
    manifest = {
        "format": FORMAT,
        "id": bundle_id,
        "created_at": created_at.isoformat(),
        "features": FEATURES,
        "columns": COLUMNS,
        "files": files,
    }
    _write(temporary / MANIFEST, json.dumps(manifest, indent=2).encode())
    for file in temporary.iterdir():
        file.chmod(0o444)
    temporary.chmod(0o755)
    path = temporary.parent / bundle_id
    temporary.rename(path)
    _sync(path.parent)
    return path


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256("".join(f"{name}:{files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BundleRefused(f"bundle {path.name}: no readable {MANIFEST} ({error})") from error
    if not isinstance(manifest, dict) or not {"id", "created_at", "files"} <= manifest.keys():
        raise BundleRefused(f"bundle {path.name}: {MANIFEST} is incomplete")
    if manifest.get("format") != FORMAT:
        raise BundleRefused(f"bundle {path.name}: format {manifest.get('format')!r}, this version reads {FORMAT}")
    if manifest.get("features") != list(FEATURES) or manifest.get("columns") != list(COLUMNS):
        raise BundleRefused(f"bundle {path.name}: made for other features than this version computes")
    if path.name != manifest["id"] or not path.name.endswith(_digest(manifest["files"])[:10]):
        raise BundleRefused(f"bundle {path.name}: its manifest speaks of {manifest['id']!r} or of other files")
    return manifest


def _check(file: Path, digest: str) -> None:
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleRefused(f"bundle {file.parent.name}: {file.name} cannot be read ({error.strerror})") from error
    if found != digest:
        raise BundleRefused(f"bundle {file.parent.name}: {file.name} is not what was written")


def _network(path: Path) -> Network:
    layers = range(len(list(path.glob("kernel_*.npy"))))
    return Network(
        kernels=tuple(np.load(path / f"kernel_{index}.npy") for index in layers),
        biases=tuple(np.load(path / f"bias_{index}.npy") for index in layers),
    )


def _check_shapes(bundle: Bundle) -> None:
    universe, n = bundle.universe, len(bundle.numbers)
    fits = (
        len(bundle.item_ids) == n
        and len(universe.popular) == n
        and universe.columns.shape == (n + 1, len(COLUMNS))
        and len(universe.rest) == len(universe.near) == len(universe.next) == n + 1
        and bundle.network.kernels[0].shape[0] == len(FEATURES)
        and bundle.rfm_edges.shape == (3, 4)
    )
    if not fits:
        raise BundleRefused(f"bundle {bundle.id}: its arrays do not fit together")
