"""All baselines by name: those that a model must beat before it may serve, and those to be compared with on request."""

from collections.abc import Callable, Collection, Mapping
from functools import partial

from ml.baselines.counting import decayed_frequency, personal_frequency, popularity
from ml.baselines.ease import ease
from ml.baselines.item_knn import item_knn
from ml.baselines.item_tables import ItemTable, LastState, ReadState, table_method
from ml.baselines.ordering import Numbers
from ml.baselines.sequence_net import sequence_net
from ml.baselines.sequential_rules import sequential_rules
from ml.baselines.tifu_knn import tifu_knn
from ml.evaluation import Method
from ml.log import Log
from ml.state import Table
from ml.universe import Universe

# (universe, the person's events before a second as EVENT, that second) -> all catalogue numbers, best first
COUNTS: Mapping[str, Callable[[Universe, Table, int], Numbers]] = {
    "popularity": popularity,
    "personal_frequency": personal_frequency,
    "decayed_frequency": decayed_frequency,
}
# (the lines before the cut, the universe as of the cut) -> a table, which may serve
TABLES: Mapping[str, Callable[[Log, Universe], ItemTable]] = {
    "sequential_rules": sequential_rules,
    "item_knn": item_knn,
    "ease": ease,
}
# The same for methods that no bundle can hold: TIFU-kNN looks up the histories of other people.
OTHERS: Mapping[str, Callable[[Log, Universe], Method]] = {"tifu_knn": tifu_knn}
SLOW: Mapping[str, Callable[[Log, Universe], Method]] = {"sequence_net": sequence_net}  # only where they are asked for

BASELINES = (*COUNTS, *TABLES)  # of the gate; the simplest first
METHODS = (*BASELINES, *OTHERS)


def baseline_methods(
    past: Log, universe: Universe, names: Collection[str] = BASELINES, read_state: ReadState | None = None
) -> dict[str, Method]:
    """Baselines over the items of a universe, fitted on the lines before its moment, to be evaluated."""
    counts = {name: partial(count, universe) for name, count in COUNTS.items() if name in names}
    states = read_state or LastState()
    tables = {
        name: table_method(universe, fit(past, universe), states) for name, fit in TABLES.items() if name in names
    }
    return counts | tables | {name: fit(past, universe) for name, fit in ({**OTHERS, **SLOW}).items() if name in names}
