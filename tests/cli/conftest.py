"""The demo's shop, made once for the tests of this folder."""

from datetime import datetime
from pathlib import Path

import pytest

from cli.journey import Counts, Files, cook
from core import clock


@pytest.fixture(scope="session")
def cooked_at() -> datetime:
    """The moment the recipe takes for now."""
    return clock.now()


@pytest.fixture(scope="session")
def cooked(tmp_path_factory: pytest.TempPathFactory, cooked_at: datetime) -> tuple[Counts, Files]:
    """What the recipe makes of the real log."""
    folder: Path = tmp_path_factory.mktemp("journey")
    return cook(folder, cooked_at), Files.under(folder)
