"""A real worker process beside the tests, and a look into the broker's queues."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from core.settings import Stores

ROOT = Path(__file__).parents[2]
StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def worker_log(tmp_path: Path) -> Path:
    """Where the test's workers write."""
    return tmp_path / "worker.log"


@pytest.fixture
def start_worker(worker_log: Path, stores: Stores) -> Iterator[StartWorker]:
    """Start `penchant worker`, or another command, on the test's stores; stopped after the test.

    Other addresses are given as settings.

    `prelude` is Python that runs first, to shorten its patience.
    """
    running: list[subprocess.Popen[bytes]] = []

    def start(
        prelude: str = "", *, command: Sequence[str] = ("worker", "--processes", "1"), **settings: str
    ) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PENCHANT_POSTGRES_URL": stores.postgres_url.get_secret_value(),
            "PENCHANT_REDIS_URL": stores.redis_url.get_secret_value(),
            "PENCHANT_BROKER_URL": stores.broker_url.get_secret_value(),
            "PENCHANT_BUNDLES": str(stores.bundles),
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        program = [sys.executable, "-c", f"{prelude}\nfrom cli.main import app; app()", *command]
        with worker_log.open("ab") as log:
            running.append(
                subprocess.Popen(
                    program,
                    cwd=worker_log.parent,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return running[-1]

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
