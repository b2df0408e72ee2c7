"""Whether stored purchases can be learned from, and if not, what is there instead."""

from typing import Final

from core.events import EventType
from db.named_items import events_by_type, sample_of_named
from db.postgres import Pool
from db.purchases import PurchaseLog
from engine.catalogue.naming import FEW, unknown_items
from ml.log import NothingToLearn

_LISTED: Final = 4


async def check_learnable(pool: Pool, stored: PurchaseLog) -> str | None:
    """A warning when few purchases name a known item. Raises NothingToLearn, saying what is stored, when none does."""
    known = len(stored.person)
    if not known and not stored.unknown:
        raise NothingToLearn(await _without_purchases(pool))
    if known >= FEW * (known + stored.unknown):
        return None
    _, _, unknown = await sample_of_named(pool, EventType.PURCHASE)
    words = f"{known:,} of {known + stored.unknown:,} purchases name an item of the catalogue."
    words = f"{words} {await unknown_items(pool, unknown)}"
    if not known:
        raise NothingToLearn(words)
    return words


async def _without_purchases(pool: Pool) -> str:
    there = await events_by_type(pool)
    if not there:
        return "The purchase log is empty."
    listed = ", ".join(f"{lines:,} {type}" for type, lines in list(there.items())[:_LISTED])
    return (
        f"There is no PURCHASE among the stored events, and a training learns from purchases. There are: {listed}. To"
        ' learn from these as if they were purchases, load them with a recipe that says type = { value = "PURCHASE" }.'
    )
