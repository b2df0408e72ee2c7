"""A full disk is one error that names the file, wherever a file is written."""

import errno
import os
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest

from core import clock
from core.disks import disk_errors
from core.errors import DiskFull
from ml import bundle

FULL = "No space left on device"


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "absent").read_text()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_an_error_of_a_disk_names_the_file(number: int) -> None:
    with (
        pytest.raises(DiskFull, match=f"/data/file cannot be written: {os.strerror(number)}"),
        disk_errors(Path("/data/file")),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("part", [np.zeros(100_000), "text " * 100_000, ["json"] * 100_000])
def test_a_bundle_on_a_full_disk_is_one_error_and_leaves_nothing(
    part: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, mode: str = "r") -> IO[bytes]:
        """Every file that is written is one of a full disk."""
        return cast("IO[bytes]", open("/dev/full" if "w" in mode else path, mode))  # noqa: PTH123

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFull, match=f"bundles cannot be written: {FULL}"):
        bundle.write(tmp_path / "bundles", "test", {"part": part}, clock.now())
    assert list((tmp_path / "bundles").iterdir()) == []
