"""Boosted trees of XGBoost (Chen and Guestrin 2016) and LightGBM (Ke et al. 2017), where they are installed.

The one place that imports them: the extra `evaluation` installs both. They have no say in what serves.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Floats = NDArray[np.float64]
ROUNDS = 200
SETTINGS: dict[str, Any] = {"learning_rate": 0.05, "max_depth": 4, "seed": 7}
THREADS = 2


def require_package(name: str) -> Any:
    """The package. Raises InvalidInput where it is not installed, or cannot be loaded for want of a system library."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        missing = "installed" if isinstance(error, ModuleNotFoundError) else f"usable ({error})"
        raise InvalidInput(f"{name} is not {missing} here: install penchant[evaluation].", "methods") from error


def xgboost(features: Floats, outcome: Floats, asked: Floats) -> Floats:
    """(asked,) the probabilities of rows, after fitting to the outcomes of others."""
    package = require_package("xgboost")
    settings = {**SETTINGS, "objective": "binary:logistic", "nthread": THREADS, "verbosity": 0}
    model = package.train(settings, package.DMatrix(features, label=outcome), num_boost_round=ROUNDS)
    return np.asarray(model.predict(package.DMatrix(asked)), np.float64)


def lightgbm(features: Floats, outcome: Floats, asked: Floats) -> Floats:
    """The same."""
    package = require_package("lightgbm")
    settings = {**SETTINGS, "objective": "binary", "num_threads": THREADS, "verbosity": -1}
    model = package.train(settings, package.Dataset(features, label=outcome), num_boost_round=ROUNDS)
    return np.asarray(model.predict(asked), np.float64)
