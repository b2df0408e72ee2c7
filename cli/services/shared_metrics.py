"""How the processes of one command count together: in files of one folder, for as long as the command runs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from core.disks import temporary_errors


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Processes forked inside the block share their metrics. Enter it before `core.metrics` is imported."""
    with temporary_errors():
        made = tempfile.TemporaryDirectory(prefix="penchant-metrics-")
    with made as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
