"""The sequence net with its rules of lines, fitted for a comparison: it takes minutes, and needs TensorFlow."""

from importlib.util import find_spec

import numpy as np

from core.errors import InvalidInput
from ml.baselines.ordering import Numbers, best_first
from ml.clockless import STEP, is_clockless
from ml.evaluation import Method
from ml.log import Log, state_of
from ml.quiet_import import quiet_import
from ml.rests import resting
from ml.sequence.lessons import lesson_of
from ml.state import Table
from ml.universe import DAY, Universe

VALIDATION = 14 * DAY  # the end of the log that the weight of the rules is chosen on; without a clock one line of all
SEED = 7


def require_training() -> None:
    """Raises InvalidInput where the packages for training are not installed."""
    if find_spec("keras") is None:
        raise InvalidInput("sequence_net needs the packages for training: install penchant[train].", "methods")


def sequence_net(log: Log, universe: Universe) -> Method:
    """The method, fitted on `log`, whose lines all are before the cut."""
    end = int(log.occurred.max()) + 1
    span = STEP if is_clockless(log) else min(VALIDATION, (end - int(log.occurred.min())) // 5)
    lesson = lesson_of(log.between(None, int(end - span)), log, universe.numbers, int(end - span), end, SEED)
    trained = quiet_import("ml.sequence.training").train_sequence(lesson, lambda done, of: None, SEED)
    items = len(universe.numbers)

    def method(history: Table, as_of: int) -> Numbers:
        state = state_of(history, as_of)
        rows = universe.rows_in_order(state.bought)
        scores = np.exp(trained.blend.scores(rows)) if len(rows) else np.zeros(items)
        return best_first(universe, scores, resting(universe, state, as_of))

    return method
