"""How the processes of one command count together: in files of one folder, for as long as the command runs."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shared_numbers() -> Iterator[None]:
    """Processes forked inside share their metrics; to be entered before `core.metrics` is imported, which reads it."""
    with tempfile.TemporaryDirectory(prefix="penchant-numbers-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
