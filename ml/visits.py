"""The running visit of a person: what they looked at since they came, among the newest events that the state keeps.

Two events belong to one visit when they have the same `sessionId`; where one of them has none, when no pause of more
than PAUSE is between them.
"""

from typing import Final

import numpy as np

from ml.state import INTEREST, State, Table

PAUSE: Final = 30 * 60  # seconds; after a longer one the visit has ended


def running_visit(state: State, as_of: int) -> Table:
    """The events of interest (RECENT) of the visit that runs at a second, newest first; none when nothing runs."""
    recent = state.recent
    browsed = INTEREST.take(recent["type"])
    if not browsed.any():
        return recent[:0]
    recent = recent[browsed & (recent["occurred"] <= as_of)]
    moments = recent["occurred"].astype(np.int64)
    if not len(recent) or as_of - moments[0] > PAUSE:
        return recent[:0]
    session = recent["session"]
    named = (session[1:] > 0) & (session[:-1] > 0)
    ends = np.where(named, session[1:] != session[:-1], moments[:-1] - moments[1:] > PAUSE)
    return recent[: int(np.argmax(ends)) + 1] if ends.any() else recent
