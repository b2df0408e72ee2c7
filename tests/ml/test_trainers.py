"""Trainers are looked up by the kind of model they make."""

import subprocess
import sys

import pytest

from core.errors import InvalidInput
from db.jobs import AFFINITY
from ml.trainers import TRAINERS, UnknownKind, trainer_for


def test_an_unknown_kind_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(UnknownKind, match=r"'weather'.*known: 'affinity'") as refused:
        trainer_for("weather")
    assert isinstance(refused.value, InvalidInput)


def test_the_kind_of_a_training_job_has_a_trainer() -> None:
    assert AFFINITY in TRAINERS


def test_a_trainer_is_imported_only_when_it_is_looked_up() -> None:
    code = (
        "import sys, ml.trainers\n"
        "before = 'tensorflow' in sys.modules\n"
        "ml.trainers.TRAINERS = {'made-up': 'json:dumps'}\n"
        "print(before, ml.trainers.trainer_for('made-up')([1]), 'tensorflow' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "[1]", "False"]
