"""A person's state: independent of the order of events, counted once, refused when damaged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.amounts import LARGEST_SUM, bounded_sum
from core.contract import EventType
from ml.rfm import rfm, score
from ml.state import (
    CODE,
    EVENT,
    HALF_LIFE,
    INTEREST,
    ITEM,
    MOST_ITEMS,
    MOST_RECENT,
    PURCHASE,
    RETURN,
    State,
    StateDamaged,
    Table,
    _totals,
    decayed,
    fold,
)

MakeEvents = Callable[..., Table]
START = 1_600_000_000


@st.composite
def event_tables(draw: st.DrawFn) -> Table:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, len(EventType) - 1),
                st.integers(0, 8),
                st.integers(START, START + 10_000_000),
                st.integers(0, 10_000),
                st.integers(0, 6),
            ),
            max_size=40,
        )
    )
    events = np.zeros(len(rows), EVENT)
    events["identity"] = np.arange(1, len(rows) + 1) * 7919
    events["quantity"] = 1
    for name, column in zip(
        ("type", "item", "occurred", "cents", "order"), zip(*rows, strict=True) if rows else [()] * 5, strict=True
    ):
        events[name] = column
    return events


def same(one: State, other: State) -> None:
    for name in ITEM.names or ():
        if name == "decayed":
            np.testing.assert_allclose(one.items[name], other.items[name], rtol=1e-5)
        else:
            np.testing.assert_array_equal(one.items[name], other.items[name])
    np.testing.assert_array_equal(one.recent, other.recent)
    np.testing.assert_array_equal(one.recent_orders, other.recent_orders)
    assert (one.orders, one.lines, one.first, one.last, one.spend) == (
        other.orders, other.lines, other.first, other.last, other.spend,
    )  # fmt: skip


@given(event_tables(), st.randoms(use_true_random=False), st.integers(0, 40))
def test_any_order_in_any_parts_gives_the_same_state(events: Table, random: object, cut: int) -> None:
    order = list(range(len(events)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = events[order]
    whole = fold(State.empty(), events)
    same(fold(State.empty(), shuffled), whole)
    same(fold(fold(State.empty(), shuffled[cut:]), shuffled[:cut]), whole)


@given(event_tables())
def test_an_event_given_twice_counts_once(events: Table) -> None:
    same(fold(State.empty(), np.concatenate([events, events])), fold(State.empty(), events))


@given(event_tables(), st.integers(0, 40))
def test_events_the_base_includes_are_not_counted_again(events: Table, cut: int) -> None:
    base = fold(State.empty(), events[:cut]).with_included(events["identity"][:cut])
    same(fold(base, events), fold(State.empty(), events))


@given(event_tables())
def test_a_state_survives_packing(events: Table) -> None:
    state = fold(State.empty(), events).with_included(events["identity"])
    again = State.unpack(state.pack())
    same(again, state)
    assert again.pack() == state.pack()
    np.testing.assert_array_equal(again.included, np.sort(events["identity"]))


@given(event_tables())
def test_folding_equals_plain_counting(events: Table) -> None:
    state = fold(State.empty(), events)
    bought = [event for event in events if event["type"] == PURCHASE]
    orders = {int(event["order"]) or int(event["occurred"]) for event in bought}
    assert (state.lines, state.orders) == (len(bought), len(orders))
    returned = sum(int(event["cents"]) for event in events if event["type"] == RETURN)
    assert state.spend == sum(int(event["cents"]) for event in bought) - returned
    assert state.last == max((int(event["occurred"]) for event in bought), default=0)
    for row in state.items:
        mine = [event for event in bought if event["item"] == row["item"]]
        assert row["lines"] == len(mine)
        assert row["views"] == sum(INTEREST[event["type"]] and event["item"] == row["item"] for event in events)
        if mine:
            assert row["first"] == min(event["occurred"] for event in mine)
            assert row["last"] == max(event["occurred"] for event in mine)
            expected = sum(0.5 ** ((int(row["last"]) - int(event["occurred"])) / HALF_LIFE) for event in mine)
            assert row["decayed"] == pytest.approx(expected, rel=1e-5)
    assert {int(row["item"]) for row in state.items} >= {int(event["item"]) for event in bought} - {0}


@given(event_tables().filter(len), st.data())
def test_a_damaged_state_is_refused(events: Table, data: st.DataObject) -> None:
    packed = bytearray(fold(State.empty(), events).pack())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StateDamaged):
        State.unpack(bytes(packed))


@pytest.mark.parametrize("packed", [b"", b"PST1", b"another thing altogether" * 4])
def test_other_bytes_than_a_state_are_refused(packed: bytes) -> None:
    with pytest.raises(StateDamaged):
        State.unpack(packed)


def test_of_too_many_items_the_most_relevant_are_kept(make_events: MakeEvents, now: int) -> None:
    many = make_events(*range(1, 5_001), at=now - 90 * 86_400)
    favourite = np.concatenate([make_events(7, at=now - day * 86_400) for day in range(1, 6)])
    state = fold(State.empty(), np.concatenate([many, favourite, make_events(6_000, at=now)]))
    assert len(state.items) == MOST_ITEMS
    assert {7, 6_000} <= set(state.items["item"].tolist())
    assert state.lines == 5_006


def test_fifty_thousand_events_fold_into_a_small_state(make_events: MakeEvents) -> None:
    items = np.random.default_rng(3).integers(1, 60_000, 50_000)
    state = fold(State.empty(), make_events(*items.tolist()))
    assert state.lines == 50_000
    assert len(state.pack()) < 30_000


def test_the_newest_interests_are_remembered(make_events: MakeEvents) -> None:
    state = fold(State.empty(), make_events(*range(1, 100), type=CODE[EventType.VIEW]))
    assert state.recent["item"].tolist() == list(range(99, 99 - MOST_RECENT, -1))


@st.composite
def extreme_tables(draw: st.DrawFn) -> Table:
    """Events at the bounds of the contract, and lines of releases before there was a bound."""
    line = st.sampled_from([0, 1, 10**13, 10**13 - 1, 10**18])
    moment = st.sampled_from([631_152_000, START, 4_102_444_800, 2**32 - 1, 2**32, 2**33])
    number = st.sampled_from([0, 1, 2**31, 2**32 - 1])
    order = st.sampled_from([0, 1, START, 2**63, 2**64 - 1])
    kind = st.sampled_from([PURCHASE, RETURN, *range(len(EventType))])
    rows = draw(st.lists(st.tuples(kind, number, moment, line, order), max_size=60))
    events = np.zeros(len(rows), EVENT)
    events["identity"] = 2**64 - 1 - np.arange(len(rows), dtype=np.uint64)
    events["quantity"] = 1_000_000
    for at, (type, item, occurred, cents, order_) in enumerate(rows):
        events[at] = (events[at]["identity"], type, item, occurred, 1_000_000, cents, order_)
    return events


@given(events=extreme_tables(), random=st.randoms(use_true_random=False))
def test_extreme_events_fold_pack_and_show_without_overflow_in_any_order(events: Table, random: Any) -> None:
    order = list(range(len(events)))
    random.shuffle(order)
    with np.errstate(all="raise", under="ignore"):
        state = fold(State.empty(), events)
        same(state, fold(State.empty(), events[order]))
        again = State.unpack(state.pack())
        same(state, again)
        value = rfm(again, START)
        assert np.isfinite(decayed(again.items, 2**33)).all() and np.isfinite(again.items["decayed"]).all()
    paid = events["cents"][events["type"] == PURCHASE].tolist()
    returned = events["cents"][events["type"] == RETURN].tolist()
    assert again.spend == bounded_sum(sum(paid) - sum(returned))
    assert value is None or (score(value).monetary >= 1 and abs(value.monetary) <= LARGEST_SUM)


@given(events=extreme_tables(), cut=st.integers(0, 60))
def test_accepted_extremes_fold_in_parts_as_at_once(events: Table, cut: int) -> None:
    events = events[(events["cents"] <= 10**13) & (events["occurred"] < 2**32)]
    same(fold(fold(State.empty(), events[:cut]), events[cut:]), fold(State.empty(), events))


def test_a_million_of_the_largest_lines_stay_at_the_bound(make_events: MakeEvents) -> None:
    events = np.zeros(1_000_000, EVENT)
    events["identity"], events["type"], events["item"] = np.arange(1, 1_000_001), PURCHASE, 1
    events["occurred"], events["cents"] = START, 10**13
    state = fold(State.empty(), events)
    assert state.spend == int(state.items["spend"][0]) == LARGEST_SUM and state.items["lines"][0] == 65_535
    events["type"] = RETURN
    assert fold(State.empty(), events).spend == -LARGEST_SUM


@given(st.lists(st.integers(-(10**18), 10**18), min_size=1, max_size=40), st.data())
def test_sums_of_runs_are_exact_up_to_their_bound(cents: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(cents) - 1))
    starts = sorted({0, cut})
    runs = [cents[:cut], cents[cut:]] if cut else [cents]
    found = _totals(np.array(cents, np.int64), np.array(starts))
    assert found.tolist() == [bounded_sum(sum(run)) for run in runs]
