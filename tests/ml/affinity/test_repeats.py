"""How often a person buys an item again: their own share, mixed with that of all people."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ml.affinity.repeats import PRIOR, USUAL, repeat_share
from ml.log import Log
from ml.snapshot import best_supported, snapshot
from ml.state import State, Table, fold
from ml.universe import Universe

DAY = 86_400


def test_the_share_of_repeat_purchases_is_the_persons_own_with_all_peoples_mixed_in(
    make_events: Callable[..., Table], universe: Universe, now: int
) -> None:
    events = [make_events(5, 6, at=now - week * 7 * DAY, apart=0) for week in range(1, 11)]
    state = fold(State.empty(), np.concatenate([*events, make_events(7, at=now - DAY)]))  # 21 purchases of 3 items
    usual = replace(universe, first_share=np.array([0.2], np.float32))
    assert repeat_share(usual, state) == pytest.approx(1 - (3 + PRIOR * 0.2) / (21 + PRIOR))
    assert repeat_share(usual, State.empty()) == pytest.approx(0.8)
    for without in (None, replace(universe, first_share=None)):
        assert repeat_share(without, State.empty()) == 1 - USUAL


def test_a_snapshot_knows_how_many_purchases_are_of_an_item_new_to_the_person(
    make_log: Callable[..., Log], now: int
) -> None:
    log = make_log()
    found = snapshot(log, best_supported(log, 80), now).first_share
    lines = set(zip(log.person.tolist(), log.item.tolist(), log.order.tolist(), strict=True))
    assert found is not None
    assert float(found[0]) == pytest.approx(len({(person, item) for person, item, _ in lines}) / len(lines))
    assert snapshot(log, best_supported(log, 80), 0).first_share is None
