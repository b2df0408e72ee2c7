"""Standard input as a file: a load reads its file twice, once for the digest that finds an earlier load of it."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from cli.loading.chunks import WrongFile

STANDARD_INPUT: Final = Path("-")


def as_file(path: Path) -> Path:
    """The path; for `-` a copy of standard input in the folder for temporary files, removed when the process ends.

    Raises WrongFile when the copy does not fit there.
    """
    if path != STANDARD_INPUT:
        return path
    folder = Path(tempfile.mkdtemp(prefix="penchant-load-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with (folder / "standard-input").open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
    except OSError as error:
        advice = "name a file, or another folder in TMPDIR"
        raise WrongFile(f"its copy in {folder.parent} failed: {error.strerror}; {advice}") from None
    return folder / "standard-input"
