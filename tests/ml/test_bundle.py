"""A bundle is what was written, or it is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml.bundle import MANIFEST, Bundle, BundleRefused
from ml.universe import Universe


def test_a_bundle_gives_back_what_was_written(bundle_path: Path, universe: Universe) -> None:
    opened = Bundle.open(bundle_path)
    assert opened.id == bundle_path.name
    assert opened.evaluation == {"made": "up"}
    assert opened.item_ids[0] == "item 1"
    for name in ("numbers", "columns", "rest", "near", "near_score", "next", "next_score", "popular"):
        np.testing.assert_array_equal(getattr(opened.universe, name), getattr(universe, name))


def test_its_arrays_are_mapped_not_read(bundle_path: Path) -> None:
    assert isinstance(Bundle.open(bundle_path).universe.near.base, np.memmap)


def test_its_files_cannot_be_written_to(bundle_path: Path) -> None:
    assert all(file.stat().st_mode & 0o222 == 0 for file in bundle_path.iterdir())
    with pytest.raises(ValueError, match="read-only"):
        Bundle.open(bundle_path).universe.near[0, 0] = 1


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if file.name != MANIFEST)


def test_a_flipped_byte_in_any_file_is_refused_by_name(bundle_path: Path, tmp_path: Path) -> None:
    for name in files(bundle_path):
        copy = tmp_path / name / bundle_path.name
        shutil.copytree(bundle_path, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).chmod(0o644)
        (copy / name).write_bytes(content)
        with pytest.raises(BundleRefused, match=name):
            Bundle.open(copy)


def test_a_missing_file_is_refused_by_name(bundle_path: Path) -> None:
    (bundle_path / "near.npy").unlink()
    with pytest.raises(BundleRefused, match=r"near\.npy"):
        Bundle.open(bundle_path)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("format", 99, "format 99"),
        ("features", ["other"], "other features"),
        ("id", "another", "speaks of 'another'"),
        ("files", {}, "of other files"),
        ("created_at", None, "incomplete"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    bundle_path: Path, field: str, value: object, told: str
) -> None:
    file = bundle_path / MANIFEST
    manifest = json.loads(file.read_text())
    manifest[field] = value
    if value is None:
        del manifest[field]
    file.chmod(0o644)
    file.write_text(json.dumps(manifest))
    with pytest.raises(BundleRefused, match=told):
        Bundle.open(bundle_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_manifest_that_is_no_manifest_is_refused(bundle_path: Path, content: bytes) -> None:
    (bundle_path / MANIFEST).chmod(0o644)
    (bundle_path / MANIFEST).write_bytes(content)
    with pytest.raises(BundleRefused, match=MANIFEST):
        Bundle.open(bundle_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused):
        Bundle.open(tmp_path / "nothing")


def test_a_renamed_bundle_is_refused(bundle_path: Path) -> None:
    with pytest.raises(BundleRefused, match="speaks of"):
        Bundle.open(bundle_path.rename(bundle_path.with_name("affinity-of-mine")))


def test_nothing_is_left_of_a_bundle_that_could_not_be_written(
    tmp_path: Path, universe: Universe, monkeypatch: pytest.MonkeyPatch, write_bundle: object
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "bundles", universe)  # type: ignore[operator]
    assert list((tmp_path / "bundles").iterdir()) == []
