"""EASE (Steck 2019): the table of the universe (`ml.ease`), so it costs nothing to fit; all purchases count alike."""

from ml.baselines.item_tables import ItemTable
from ml.log import Log
from ml.universe import Universe


def ease(log: Log, universe: Universe) -> ItemTable:
    """The weights of each item for others."""
    assert universe.ease is not None
    assert universe.ease_score is not None
    return ItemTable(universe.ease, universe.ease_score, fade=1.0)
