"""Imports a module without TensorFlow's own log lines, unless the environment sets a level for them.

On a machine with a GPU, TensorFlow takes its memory as it needs it, unless the environment says otherwise.

TensorFlow writes its first lines to the file of standard error itself, before it reads any level.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Final

LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"
GROWTH: Final = "TF_FORCE_GPU_ALLOW_GROWTH"  # by itself it takes all memory of the GPU at once
_OWN: Final = re.compile(rb"[IW]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] |WARNING: All log messages before absl::InitializeLog")


def quiet_import(name: str) -> ModuleType:
    """The module. What else was written to standard error meanwhile is written after the import."""
    os.environ.setdefault(GROWTH, "true")
    if LEVEL in os.environ:
        return import_module(name)
    os.environ[LEVEL] = "3"  # only fatal ones, also of what TensorFlow does later
    with _without_own_lines():
        return import_module(name)


@contextmanager
def _without_own_lines() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            for line in written:
                if not _OWN.match(line):
                    os.write(2, line)
