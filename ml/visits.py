"""The running visit of a person: what they looked at since they came, among the newest events that the state keeps.

Two events belong to one visit when they have the same `sessionId`; where one of them has none, when no pause of more
than PAUSE is between them.
"""

from typing import Final

import numpy as np

from ml.state import INTEREST, State, Table

PAUSE: Final = 30 * 60  # seconds; after a longer one the visit has ended
LONGEST_SESSION: Final = 24 * 60 * 60  # seconds; an older event is of no visit, even when its session still runs


def running_visit(state: State, as_of: int, session: int = 0) -> Table:
    """The events of interest (RECENT) of the visit that runs at a second, newest first; none when nothing runs.

    With the hash of a session, that one runs, however long the pause since its last event; events of others do not
    count.
    """
    recent = state.recent
    browsed = INTEREST.take(recent["type"])
    if not browsed.any():
        return recent[:0]
    recent = recent[browsed & (recent["occurred"] <= as_of)]
    session &= 0xFFFF_FFFF  # as much of it as the state keeps
    if session:
        recent = recent[(recent["session"] == session) | (recent["session"] == 0)]
    moments, sessions = recent["occurred"].astype(np.int64), recent["session"]
    if not len(recent):
        return recent
    since = as_of - moments[0]
    if since > (LONGEST_SESSION if session and sessions[0] == session else PAUSE):
        return recent[:0]
    named = (sessions[1:] > 0) & (sessions[:-1] > 0)
    ends = np.where(named, sessions[1:] != sessions[:-1], moments[:-1] - moments[1:] > PAUSE)
    return recent[: int(np.argmax(ends)) + 1] if ends.any() else recent
