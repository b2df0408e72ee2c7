"""The modules that the gateway imports are light."""

import subprocess
import sys

import pytest

HEAVY = {"tensorflow", "keras", "scipy", "pandas", "mlflow"}


@pytest.mark.parametrize(
    "module", ["state", "bundle", "rfm", "trainers", "affinity.model", "affinity.ranking", "affinity.similar"]
)
def test_serving_never_imports_training_packages(module: str) -> None:
    code = f"import sys, ml.{module}; print(*sorted({HEAVY} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
