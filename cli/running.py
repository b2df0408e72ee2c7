"""What a running stack leaves in its folder for the other commands: the settings that reach it."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.stack.addresses import GIVEN
from cli.stack.folder import write_private

FOLDER = ".penchant"
NAME = "running.json"


@contextlib.contextmanager
def announced(folder: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Keep the settings where `adopt_running_stack` finds them, as long as the block runs."""
    write_private(folder / NAME, json.dumps(dict(settings), indent=1))
    try:
        yield
    finally:
        (folder / NAME).unlink(missing_ok=True)


def adopt_running_stack(start: Path) -> None:
    """Take on the settings of the stack that runs here or in a folder above, unless the environment names a store."""
    if any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in GIVEN.values()):
        return
    for folder in (start.resolve(), *start.resolve().parents):
        with contextlib.suppress(OSError):
            for name, value in json.loads((folder / FOLDER / NAME).read_text()).items():
                os.environ.setdefault(name, value)
            return
