"""Erasure from the lake: files with events of erased people are written again without them."""

from collections.abc import Collection
from datetime import date
from functools import partial

from core.contract import Person
from db.lake.days import read_contents
from db.lake.location import Lake
from db.lake.people import KEYS, ids_of, may_hold, rows_of
from db.lake.rewriting import Unwanted, rewrite


def erase_people(lake: Lake, people: Collection[Person]) -> list[date]:
    """Remove every event of these people from the lake; returns the days that were written again.

    A guest's events are those without a user id. The caller is a `sole_writer` and has erased the people from Postgres
    before: the next export compares these days again. After a kill, it is called again.

    Raises StoreUnavailable when the lake cannot be read or written.
    """
    ids = ids_of(people)
    theirs = Unwanted(list(KEYS.values()), partial(rows_of, ids=ids), partial(may_hold, ids=ids))
    return [day.day for day in read_contents(lake).days.values() if rewrite(lake, day, theirs) != day]
