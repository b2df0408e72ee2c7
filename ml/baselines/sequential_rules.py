"""Sequential rules: what people buy in the orders after an item (Ludewig and Jannach 2018).

The rules are those of the universe (`ml.rules`), so they cost nothing to fit. They are summed over all that the person
bought, the newest orders first: an item counts FADE times as much after each later order.
"""

from ml.baselines.item_tables import ItemTable
from ml.log import Log
from ml.universe import Universe

FADE = 0.7


def sequential_rules(log: Log, universe: Universe) -> ItemTable:
    """The items that follow each item."""
    return ItemTable(universe.next, universe.next_score, FADE)
