"""The versions of Keras and of what computes for it: TensorFlow, or JAX where `KERAS_BACKEND` says so."""

from importlib import import_module

import keras


def keras_versions() -> dict[str, str]:
    """By name of the package."""
    backend = str(keras.backend.backend())
    return {"keras": keras.__version__, backend: str(import_module(backend).__version__)}
