"""A bundle holds what was written, or it is refused."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DiskFull
from ml.bundle import MANIFEST, Bundle, BundleRefused, write

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PARTS: Mapping[str, Any] = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "names": {"first": ["a", "ü"]},
    "ids": ["x", "y"],
    "note": "für alle",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A written bundle of a kind that no model has."""
    return write(tmp_path, "thing", PARTS, CREATED)


def edit(path: Path, field: str, value: object) -> None:
    """Set a field of the manifest; remove it when the value is None."""
    file = path / MANIFEST
    manifest = json.loads(file.read_text())
    manifest[field] = value
    if value is None:
        del manifest[field]
    file.chmod(0o644)
    file.write_text(json.dumps(manifest))


def test_a_bundle_gives_back_what_was_written(path: Path) -> None:
    opened = Bundle.open(path)
    assert (opened.id, opened.kind, opened.created_at) == (path.name, "thing", CREATED)
    assert path.name == f"thing-20260102T030405-{opened.digest[:10]}"
    np.testing.assert_array_equal(opened.array("weights"), PARTS["weights"])
    assert opened.array("weights").dtype == np.float32
    assert (opened.json("names"), opened.json("ids")) == (PARTS["names"], PARTS["ids"])
    assert opened.text("note") == PARTS["note"]


def test_the_same_parts_give_the_same_id(path: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again", "thing", dict(reversed(list(PARTS.items()))), CREATED)
    assert again.name == path.name
    assert write(tmp_path, "thing", {**PARTS, "note": "für dich"}, CREATED).name != path.name


def test_two_bundles_of_one_second_and_content_are_two(path: Path) -> None:
    others = [write(path.parent, "thing", PARTS, CREATED) for _ in range(2)]
    assert len({path, *others}) == 3
    moments = [Bundle.open(each).created_at for each in (path, *others)]
    assert moments == [CREATED + timedelta(seconds=later) for later in range(3)]
    assert {each.name for each in path.parent.iterdir()} == {path.name, *(each.name for each in others)}


def test_arrays_are_mapped_not_read(path: Path) -> None:
    assert isinstance(Bundle.open(path).array("weights").base, np.memmap)


def test_nothing_in_a_bundle_can_be_written_to(path: Path) -> None:
    assert all(file.stat().st_mode & 0o222 == 0 for file in path.iterdir())
    with pytest.raises(ValueError, match="read-only"):
        Bundle.open(path).array("weights")[0, 0] = 1


def test_a_flipped_byte_in_any_file_is_refused_by_name(path: Path, tmp_path: Path) -> None:
    for name in sorted(file.name for file in path.iterdir() if file.name != MANIFEST):
        copy = tmp_path / name / path.name
        shutil.copytree(path, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).chmod(0o644)
        (copy / name).write_bytes(content)
        with pytest.raises(BundleRefused, match=name):
            Bundle.open(copy)


def test_a_missing_file_is_refused_by_name(path: Path) -> None:
    (path / "weights.npy").unlink()
    with pytest.raises(BundleRefused, match=r"weights\.npy"):
        Bundle.open(path)


@pytest.mark.parametrize("file", ["weights.npy", "names.json", "note.txt"])
@pytest.mark.parametrize("kind", ["empty", "cut", "pickle", "bytes"])
def test_a_wrong_file_with_the_right_digest_is_refused_and_nothing_in_it_is_run(
    path: Path, file: str, kind: str, tmp_path: Path
) -> None:
    class Planted:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "was run",))

    array = io.BytesIO()
    np.save(array, np.array([Planted()], np.object_), allow_pickle=True)
    content = {"empty": b"", "cut": (path / file).read_bytes()[:9], "pickle": array.getvalue(), "bytes": b"\xff\xfe{"}
    sealed = with_file(path, file, content[kind])
    try:
        Bundle.open(sealed)
    except BundleRefused:
        pass
    else:
        assert (file, kind) in {("note.txt", "empty"), ("note.txt", "cut")}, "any UTF-8 is a text"
    assert not (tmp_path / "was run").exists()


def with_file(path: Path, file: str, content: bytes) -> Path:
    """The bundle with another file, whose digests all agree; its new path."""
    (path / file).chmod(0o644)
    (path / file).write_bytes(content)
    parts = json.loads((path / MANIFEST).read_text())["parts"]
    parts[Path(file).stem]["sha256"] = hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256("".join(f"{each}:{':'.join(parts[each].values())}\n" for each in sorted(parts)).encode())
    id = f"thing-{CREATED:%Y%m%dT%H%M%S}-{digest.hexdigest()[:10]}"
    edit(path, "parts", parts)
    edit(path, "id", id)
    return path.rename(path.with_name(id))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", 99, "format 99.*`penchant train`"),
        ("format", [2], "format"),
        ("format", None, "incomplete"),
        ("id", "another", "names 'another'"),
        ("kind", "other", "names 'thing-"),
        ("created_at", "2026-01-02T03:04:06+00:00", "names 'thing-"),
        ("created_at", "yesterday", "incomplete"),
        ("created_at", None, "incomplete"),
        ("parts", {}, "lists other parts"),
        ("parts", [], "incomplete"),
        ("parts", {"weights": {"type": "array"}}, "incomplete"),
        ("parts", {"weights": "weights.npy"}, "incomplete"),
    ],
)
def test_an_edited_manifest_is_refused(path: Path, field: str, value: object, message: str) -> None:
    edit(path, field, value)
    with pytest.raises(BundleRefused, match=message):
        Bundle.open(path)


def test_a_part_of_another_type_than_was_written_is_refused(path: Path) -> None:
    parts = json.loads((path / MANIFEST).read_text())["parts"]
    edit(path, "parts", {**parts, "note": {**parts["note"], "type": "json"}})
    with pytest.raises(BundleRefused, match="lists other parts"):
        Bundle.open(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_an_unreadable_manifest_is_refused(path: Path, content: bytes) -> None:
    (path / MANIFEST).chmod(0o644)
    (path / MANIFEST).write_bytes(content)
    with pytest.raises(BundleRefused, match=MANIFEST):
        Bundle.open(path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused):
        Bundle.open(tmp_path / "nothing")


def test_a_renamed_bundle_is_refused(path: Path) -> None:
    with pytest.raises(BundleRefused, match="names"):
        Bundle.open(path.rename(path.with_name("thing-of-mine")))


@pytest.mark.parametrize(("method", "part"), [("array", "note"), ("json", "note"), ("text", "ids"), ("text", "absent")])
def test_a_missing_part_or_one_of_another_type_is_refused_by_name(path: Path, method: str, part: str) -> None:
    with pytest.raises(BundleRefused, match=f"part '{part}'"):
        getattr(Bundle.open(path), method)(part)


def test_a_bundle_that_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match="bundles cannot be written: No space"):
        write(tmp_path / "bundles", "thing", PARTS, CREATED)
    assert list((tmp_path / "bundles").iterdir()) == []
