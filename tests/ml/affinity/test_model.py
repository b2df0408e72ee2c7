"""An affinity bundle opens as the model that was written, in both formats, or it is refused."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import bundle
from ml.affinity.model import AffinityModel
from ml.affinity.pair_features import FEATURES
from ml.bundle import MANIFEST, Bundle, BundleRefused
from ml.universe import COLUMNS, Universe

WriteBundle = Callable[[Path, Universe], Path]


def seal_format_1(folder: Path, now: int, **changes: Any) -> Path:
    """Turn the files in `folder` into a bundle of format 1, as earlier versions wrote it; returns its path."""
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    digest = hashlib.sha256("".join(f"{name}:{files[name]}\n" for name in sorted(files)).encode()).hexdigest()
    created_at = datetime.fromtimestamp(now, UTC)
    manifest = {
        "format": 1,
        "id": f"affinity-{created_at:%Y%m%dT%H%M%S}-{digest[:10]}",
        "created_at": created_at.isoformat(),
        "features": FEATURES,
        "columns": COLUMNS,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}, indent=2))
    return folder.rename(folder.with_name(str(manifest["id"])))


@pytest.fixture
def old_files(bundle_path: Path) -> Path:
    """The files of a bundle of format 1, without a manifest."""
    folder = bundle_path.with_name("old")
    folder.mkdir()
    for file in bundle_path.iterdir():
        if file.name not in (MANIFEST, "names.json"):
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def assert_same_model(one: AffinityModel, other: AffinityModel) -> None:
    for field in fields(Universe):
        np.testing.assert_array_equal(getattr(one.universe, field.name), getattr(other.universe, field.name))
    for ours, theirs in zip(one.network.kernels, other.network.kernels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(one.rfm_edges, other.rfm_edges)
    assert (one.item_ids, one.evaluation, one.created_at) == (other.item_ids, other.evaluation, other.created_at)


def test_a_model_gives_back_what_was_written(bundle_path: Path, universe: Universe) -> None:
    opened = AffinityModel.open(bundle_path)
    assert opened.id == bundle_path.name
    assert opened.id.startswith("affinity-2023")
    assert opened.evaluation == {"made": "up"}
    assert opened.item_ids[0] == "item 1"
    for field in fields(Universe):
        np.testing.assert_array_equal(getattr(opened.universe, field.name), getattr(universe, field.name))


def test_the_arrays_of_a_model_are_mapped_and_read_only(model: AffinityModel) -> None:
    assert isinstance(model.universe.near.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        model.universe.near[0, 0] = 1


def test_a_bundle_of_format_1_still_opens(old_files: Path, model: AffinityModel, now: int) -> None:
    path = seal_format_1(old_files, now)
    opened = AffinityModel.open(path)
    assert opened.id == path.name
    assert opened.id.endswith(opened.digest[:10])
    assert_same_model(opened, model)


def test_a_bundle_of_format_1_with_a_changed_file_is_refused(old_files: Path, now: int) -> None:
    path = seal_format_1(old_files, now)
    (path / "near.npy").write_bytes((path / "near.npy").read_bytes()[:-1] + b"!")
    with pytest.raises(BundleRefused, match=r"near\.npy"):
        AffinityModel.open(path)


@pytest.mark.parametrize("changes", [{"features": ["other"]}, {"columns": ["other"]}])
def test_a_bundle_of_format_1_with_other_features_is_refused_with_the_command_that_retrains(
    old_files: Path, now: int, changes: dict[str, Any]
) -> None:
    with pytest.raises(BundleRefused, match=r"other features.*`penchant train`"):
        AffinityModel.open(seal_format_1(old_files, now, **changes))


def rewritten(path: Path, folder: Path, changes: Mapping[str, Any], kind: str = "affinity") -> Path:
    """The bundle at `path` written anew with some parts changed."""
    opened = Bundle.open(path)
    return bundle.write(folder, kind, {**opened.parts, **changes}, opened.created_at)


def test_a_bundle_with_other_features_is_refused_with_the_command_that_retrains(
    bundle_path: Path, tmp_path: Path
) -> None:
    names = {"features": [*FEATURES[1:], "new"], "columns": list(COLUMNS)}
    with pytest.raises(BundleRefused, match=r"other features.*`penchant train`"):
        AffinityModel.open(rewritten(bundle_path, tmp_path / "other", {"names": names}))


@pytest.mark.parametrize(
    ("part", "odd", "words"),
    [
        ("kernel_0", np.full((len(FEATURES), 1), np.nan, np.float32), "weights are not numbers"),
        ("kernel_0", np.float32(1), "do not fit"),
        ("kernel_0", np.full((len(FEATURES), 1), "x"), "do not fit"),
        ("bias_0", np.zeros((1, 1), np.float32), "do not fit"),
        ("bias_0", np.full(1, np.inf, np.float32), "weights are not numbers"),
        ("near", np.int32(1), "do not fit"),
        ("near_score", np.zeros((0, 0), np.float32), "do not fit"),
        ("next_score", np.zeros(3, np.float32), "do not fit"),
        ("rest", np.zeros((2, 2), np.float32), "do not fit"),
        ("numbers", np.zeros((2, 2), np.uint32), "do not fit"),
        ("popular", np.uint32(1), "do not fit"),
    ],
)
def test_a_bundle_whose_arrays_cannot_rank_is_refused_in_words(
    bundle_path: Path, tmp_path: Path, part: str, odd: Any, words: str
) -> None:
    with pytest.raises(BundleRefused, match=words):
        AffinityModel.open(rewritten(bundle_path, tmp_path / "odd", {part: np.asarray(odd)}))


def test_a_bundle_of_another_kind_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="its kind is 'hazard'"):
        AffinityModel.open(rewritten(bundle_path, tmp_path / "other", {}, kind="hazard"))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("rest", np.zeros(3, np.float32)),
        ("rebought", np.zeros(3, np.bool_)),
        ("together", np.zeros((3, 4), np.int32)),
        ("columns", np.zeros((81, 4), np.float32)),
        ("kernel_0", np.zeros((3, 1), np.float32)),
        ("items", ["item 1"]),
        ("rfm_edges", np.zeros((2, 4))),
    ],
)
def test_arrays_of_other_shapes_are_refused(bundle_path: Path, tmp_path: Path, part: str, value: Any) -> None:
    with pytest.raises(BundleRefused, match="do not fit together"):
        AffinityModel.open(rewritten(bundle_path, tmp_path / "other", {part: value}))


def test_a_bundle_without_one_of_its_parts_is_refused_by_name(bundle_path: Path, tmp_path: Path) -> None:
    opened = Bundle.open(bundle_path)
    parts = {name: part for name, part in opened.parts.items() if name != "near_score"}
    with pytest.raises(BundleRefused, match="'near_score'"):
        AffinityModel.open(bundle.write(tmp_path / "other", "affinity", parts, opened.created_at))


@pytest.mark.parametrize("part", ["evaluation", "training"])
def test_a_list_where_an_object_belongs_is_refused_by_name(bundle_path: Path, tmp_path: Path, part: str) -> None:
    with pytest.raises(BundleRefused, match=f"'{part}'.*of another type"):
        AffinityModel.open(rewritten(bundle_path, tmp_path / "odd", {part: ["a", "list"]}))


def test_a_bundle_of_an_earlier_release_opens_without_what_is_bought_again(bundle_path: Path, tmp_path: Path) -> None:
    opened = Bundle.open(bundle_path)
    assert opened.array("rebought").dtype == np.bool_
    parts = {
        name: part for name, part in opened.parts.items() if name not in ("rebought", "together", "together_score")
    }
    older = AffinityModel.open(bundle.write(tmp_path / "other", "affinity", parts, opened.created_at))
    assert older.universe.rebought is None
    assert older.universe.together is None
    assert older.universe.are_rebought(np.array([0], np.int32)).shape == (1,)


def test_a_bundle_of_no_items_opens(write_bundle: WriteBundle, universe: Universe, tmp_path: Path) -> None:
    columns = {field.name: getattr(universe, field.name) for field in fields(Universe)}
    empty = {name: column[-1:] for name, column in columns.items() if column is not None}
    kept = {"numbers": universe.numbers[:0], "popular": universe.popular[:0], "interest": universe.interest}
    none = replace(universe, **{**empty, **kept})
    assert AffinityModel.open(write_bundle(tmp_path / "empty", none)).item_ids == []
