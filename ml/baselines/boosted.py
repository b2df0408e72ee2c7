"""Boosted trees of XGBoost (Chen and Guestrin 2016) and LightGBM (Ke et al. 2017), where they are installed.

The one place that imports them: the extra `evaluation` installs both. They have no say in what serves.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Floats = NDArray[np.float64]
CLASSES = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}
QUIET = {"xgboost": {"verbosity": 0}, "lightgbm": {"verbosity": -1, "min_child_samples": 20}}
SETTINGS = {"n_estimators": 200, "learning_rate": 0.05, "max_depth": 4, "n_jobs": 2, "random_state": 7}


def require_package(name: str) -> Any:
    """The package. Raises InvalidInput where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise InvalidInput(f"{name} is not installed here: install penchant[evaluation].", "methods") from error


def boosted_probability(name: str, features: Floats, outcome: Floats, asked: Floats) -> Floats:
    """(asked,) the probabilities of rows, after fitting to the outcomes of others."""
    model = getattr(require_package(name), CLASSES[name])(**SETTINGS, **QUIET[name])
    model.fit(features, outcome)
    return np.asarray(model.predict_proba(asked)[:, 1], np.float64)
