"""What a deployment leaves in its folder for the other commands: its settings while it runs, and its client."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cli.stack.addresses import GIVEN
from cli.stack.folder import write_private

FOLDER = ".penchant"
RUNNING = "running.json"  # the settings; there only while the deployment runs
CREDENTIALS = "demo.json"  # addresses and client credentials; stays


@contextlib.contextmanager
def published_settings(folder: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Keep the settings where `adopt_running_stack` finds them, as long as the block runs."""
    write_private(folder / RUNNING, json.dumps(dict(settings), indent=1))
    try:
        yield
    finally:
        (folder / RUNNING).unlink(missing_ok=True)


def adopt_running_stack(start: Path) -> None:
    """Take on the settings of the stack that runs here or in a folder above, unless the environment names a store."""
    if any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in GIVEN.values()):
        return
    for name, value in (_read(RUNNING, start) or {}).items():
        os.environ.setdefault(name, value)


def write_credentials(folder: Path, credentials: Mapping[str, Any]) -> None:
    """Write addresses and credentials where `read_credentials` finds them; only the owner may read them."""
    write_private(folder / CREDENTIALS, json.dumps(dict(credentials), indent=1))


def read_credentials(start: Path | None = None) -> dict[str, Any]:
    """The addresses and credentials of the stack here or in a folder above; empty where none was ever started."""
    return _read(CREDENTIALS, start or Path.cwd()) or {}


def _read(name: str, start: Path) -> dict[str, Any] | None:
    for folder in (start.resolve(), *start.resolve().parents):
        with contextlib.suppress(OSError):
            return dict(json.loads((folder / FOLDER / name).read_text()))
    return None
