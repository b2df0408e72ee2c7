"""What the gateway imports of the brain is light."""

import subprocess
import sys

import pytest

HEAVY = {"tensorflow", "keras", "scipy", "pandas", "mlflow"}


@pytest.mark.parametrize("module", ["state", "bundle", "ranking", "features", "rfm"])
def test_serving_never_loads_what_trains(module: str) -> None:
    code = f"import sys, ml.{module}; print(*sorted({HEAVY} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
