"""Whether this installation can train: the gateway's image has no TensorFlow and no Keras."""

from importlib.util import find_spec

from cli.errors import WrongCommand


def require_training_packages() -> None:
    """Raises WrongCommand, before a job is requested or taken, where the packages for training are absent."""
    if find_spec("keras") is None:
        raise WrongCommand(
            "The packages for training are not installed here: use the trainer's image, or install penchant[train]."
        )
