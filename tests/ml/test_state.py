"""A person's state: independent of the order of events, counted once, refused when damaged."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.amounts import LARGEST_SUM, bounded_sum
from core.contract import EventType
from ml.ledger import MOST_LINES
from ml.returns import totals
from ml.rfm import rfm, score
from ml.state import (
    CODE,
    EVENT,
    INTEREST,
    ITEM,
    MOST_ITEMS,
    MOST_OPINIONS,
    MOST_RECENT,
    PURCHASE,
    RETURN,
    State,
    StateDamaged,
    Table,
    decayed,
    fold,
)
from ml.universe import HALF_LIFE

MakeEvents = Callable[..., Table]
START = 1_600_000_000


@st.composite
def event_tables(draw: st.DrawFn) -> Table:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from([PURCHASE, PURCHASE, RETURN, *range(len(EventType))]),
                st.integers(0, 4),
                st.one_of(st.integers(START, START + 6), st.integers(START, START + 10_000_000)),
                st.integers(0, 10_000),
                st.integers(0, 5),
                st.integers(1, 4),
            ),
            max_size=40,
        )
    )
    events = np.zeros(len(rows), EVENT)
    events["identity"] = np.arange(1, len(rows) + 1) * 7919
    names = ("type", "item", "occurred", "cents", "order", "quantity")
    for name, column in zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True):
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
    np.testing.assert_array_equal(one.opinions, other.opinions)
    for name in ("lines", "returns", "placed"):
        np.testing.assert_array_equal(getattr(one.ledger, name), getattr(other.ledger, name))
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


def purchases_by_hand(events: Table) -> list[Any]:
    """The purchases: lines of one order about one known item are one, as early as the first of them."""
    found: dict[tuple[int, ...], Any] = {}
    for at, event in enumerate(events[events["type"] == PURCHASE].copy()):
        order = int(event["order"]) or int(event["occurred"])
        key = (order, int(event["item"]), 0 if event["item"] else at)
        if key in found:
            for name in ("quantity", "cents"):
                found[key][name] += event[name]
            found[key]["occurred"] = min(found[key]["occurred"], event["occurred"])
        else:
            found[key] = event
            found[key]["order"] = order
    return list(found.values())


def kept_by_hand(events: Table) -> list[tuple[Any, int]]:
    """Each purchase with the units that were kept of it, counted unit by unit."""
    bought = [[event, int(event["quantity"])] for event in purchases_by_hand(events)]
    bought.sort(key=lambda line: [int(line[0][name]) for name in ("occurred", "quantity", "cents")], reverse=True)
    orders = {(int(line["order"]), int(line["item"])) for line, _ in bought if line["order"]}
    returned = sorted((event for event in events if event["type"] == RETURN), key=lambda event: int(event["occurred"]))

    def in_order(event: Any) -> bool:
        return (int(event["order"]), int(event["item"])) in orders

    for event in sorted(returned, key=in_order, reverse=True):
        for _ in range(int(event["quantity"])):
            for line in bought:
                same_order = line[0]["order"] == event["order"] if in_order(event) else event["item"] > 0
                in_time = in_order(event) or line[0]["occurred"] <= event["occurred"]
                if line[1] and line[0]["item"] == event["item"] and same_order and in_time:
                    line[1] -= 1
                    break
    return [(line, left) for line, left in bought]


@given(event_tables())
def test_folding_equals_plain_counting(events: Table) -> None:
    state = fold(State.empty(), events)
    kept = [(event, units) for event, units in kept_by_hand(events) if units]
    assert sorted(state.ledger.kept["units"].tolist()) == sorted(units for _, units in kept)
    orders = {int(event["order"]) or int(event["occurred"]) for event, _ in kept}
    assert (state.lines, state.orders) == (len(kept), len(orders))
    assert set(state.recent_orders["order"].tolist()) == orders
    assert state.spend == sum(int(event["cents"]) * units // int(event["quantity"]) for event, units in kept)
    assert state.last == max((int(event["occurred"]) for event, _ in kept), default=0)
    assert state.first == min((int(event["occurred"]) for event, _ in kept), default=0)
    for row in state.items:
        mine = [event for event, _ in kept if event["item"] == row["item"]]
        assert row["lines"] == len(mine)
        viewed = [event for event in events if event["item"] == row["item"] and INTEREST[event["type"]]]
        assert row["views"] == sum(not is_low(event) for event in viewed)
        if mine:
            assert row["first"] == min(event["occurred"] for event in mine)
            assert row["last"] == max(event["occurred"] for event in mine)
            expected = sum(0.5 ** ((int(row["last"]) - int(event["occurred"])) / HALF_LIFE) for event in mine)
            assert row["decayed"] == pytest.approx(expected, rel=1e-5)
    assert {int(row["item"]) for row in state.items} >= {int(event["item"]) for event, _ in kept} - {0}


def is_low(event: Any) -> bool:
    return bool(event["type"] == CODE[EventType.RATING] and 0 < event["cents"] <= 200)


@given(event_tables())
def test_an_item_is_disliked_until_a_later_like_good_rating_or_kept_purchase(events: Table) -> None:
    state = fold(State.empty(), events)
    kept = [event for event, units in kept_by_hand(events) if units]
    against = [event for event in events if event["type"] == CODE[EventType.DISLIKE] or is_low(event)]
    good = [event for event in events if event["type"] == CODE[EventType.RATING] and event["cents"] >= 300]
    for_it = [*kept, *good, *(event for event in events if event["type"] == CODE[EventType.LIKE])]

    def moment(event: Any) -> tuple[int, int]:  # of a purchase, the end of its second
        return int(event["occurred"]), 10**6 if event["type"] == PURCHASE else int(event["order"])

    expected = {
        int(event["item"])
        for event in against
        if event["item"] and all(each["item"] != event["item"] or moment(each) < moment(event) for each in for_it)
    }
    assert set(state.disliked.tolist()) == expected
    assert state.without_dislikes_before(START + 10**8).disliked.tolist() == []
    assert state.without_dislikes_before(START).disliked.tolist() == state.disliked.tolist()


@given(event_tables())
def test_a_state_of_another_layout_is_refused(events: Table) -> None:
    body = b"PST1" + fold(State.empty(), events).pack()[4:-4]
    with pytest.raises(StateDamaged, match="not a packed state of this version"):
        State.unpack(body + zlib.crc32(body).to_bytes(4, "little"))


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
    assert 0 <= again.spend <= bounded_sum(sum(paid))
    assert again.spend == bounded_sum(sum(paid)) or (events["type"] == RETURN).any()
    assert value is None or (score(value).monetary >= 1 and 0 <= value.monetary <= LARGEST_SUM)


@given(events=extreme_tables(), cut=st.integers(0, 60))
def test_accepted_extremes_fold_in_parts_as_at_once(events: Table, cut: int) -> None:
    events = events[(events["cents"] <= 10**13) & (events["occurred"] < 2**32)]
    same(fold(fold(State.empty(), events[:cut]), events[cut:]), fold(State.empty(), events))


def test_a_million_of_the_largest_lines_stay_at_the_bound(make_events: MakeEvents) -> None:
    events = np.zeros(1_000_000, EVENT)
    events["identity"], events["type"], events["item"] = np.arange(1, 1_000_001), PURCHASE, 1
    events["occurred"], events["cents"], events["order"] = START, 10**13, events["identity"]
    state = fold(State.empty(), events)
    assert state.spend == int(state.items["spend"][0]) == LARGEST_SUM and state.items["lines"][0] == 65_535
    events["type"][::2] = RETURN
    empty = fold(State.empty(), events)
    assert (empty.spend, empty.orders, empty.lines, len(empty.bought)) == (0, 0, 0, 0)


@given(st.lists(st.integers(-(10**18), 10**18), min_size=1, max_size=40), st.data())
def test_sums_of_runs_are_exact_up_to_their_bound(cents: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(cents) - 1))
    starts = sorted({0, cut})
    runs = [cents[:cut], cents[cut:]] if cut else [cents]
    found = totals(np.array(cents, np.int64), np.array(starts))
    assert found.tolist() == [bounded_sum(sum(run)) for run in runs]


def line(item: int, at: int, order: int = 0, quantity: int = 1, *, type: int = PURCHASE, cents: int = 0) -> Table:
    events = np.zeros(1, EVENT)
    identity = hash((item, at, order, quantity, type)) % 2**63 + 1
    events[0] = (identity, type, item, START + at, quantity, cents, order)
    return events


def folded(*events: Table) -> State:
    return fold(State.empty(), np.concatenate(events))


def test_equal_lines_of_an_order_are_one_purchase_in_parts_as_at_once() -> None:
    lines = [line(1, 5, order=7, quantity=2, cents=200), line(1, 0, order=7, cents=90), line(1, 60, order=8, cents=10)]
    state = folded(*lines, line(2, 0, order=7, cents=1))
    assert (state.orders, state.lines, state.spend) == (2, 3, 301)
    assert state.bought["lines"].tolist() == [2, 1] and state.bought["first"][0] == START
    assert state.ledger.lines["units"].tolist() == [1, 1, 3]
    same(fold(fold(State.empty(), lines[1]), np.concatenate([line(2, 0, order=7, cents=1), lines[2], lines[0]])), state)
    back = fold(state, line(1, 90, order=7, quantity=2, type=RETURN))
    assert (back.orders, back.lines, back.spend) == (2, 3, 301 - 290 + 290 // 3)
    assert fold(back, line(1, 95, order=7, type=RETURN)).bought["lines"].tolist() == [1, 1]


def test_lines_without_an_order_are_one_purchase_in_a_second_and_unknown_items_never() -> None:
    state = folded(line(1, 0, cents=1), line(1, 0, 0, 2, cents=2), line(0, 0, cents=3), line(0, 0, 0, 2, cents=4))
    assert (state.orders, state.lines, state.spend) == (1, 3, 10)


def test_an_order_counts_until_all_of_it_is_returned() -> None:
    order = [line(1, 0, order=7, quantity=3, cents=300), line(2, 0, order=7, cents=50), line(1, 60, order=8, cents=110)]
    part = folded(*order, line(1, 90, order=7, quantity=2, type=RETURN), line(2, 90, order=7, type=RETURN))
    assert (part.orders, part.lines, part.spend, part.bought["item"].tolist()) == (2, 2, 210, [1])
    whole = folded(*order, line(1, 90, order=7, quantity=3, type=RETURN), line(2, 90, order=7, type=RETURN))
    assert (whole.orders, whole.first, whole.spend, whole.bought["lines"].tolist()) == (1, START + 60, 110, [1])


def test_a_return_without_an_order_counts_against_the_newest_purchase_before_it() -> None:
    bought = [line(1, 0, cents=10), line(1, 100, cents=20), line(1, 300, cents=40)]
    state = folded(*bought, line(1, 200, type=RETURN))
    assert (state.orders, state.last, state.spend) == (2, START + 300, 50)
    named = folded(*bought, line(1, 200, order=99, type=RETURN))  # a number of the return itself, not of an order
    assert (named.orders, named.spend) == (2, 50)


def test_more_returned_than_bought_is_nothing_bought_and_nothing_owed() -> None:
    state = folded(line(1, 0, order=7, cents=10), line(1, 5, order=7, quantity=1_000, type=RETURN, cents=10_000))
    assert (state.orders, state.lines, state.spend, rfm(state, START)) == (0, 0, 0, None)
    other = fold(state, line(1, 10, order=8, cents=30))
    assert (other.orders, other.spend) == (1, 30), "what is left over does not count against another order"


def test_a_return_waits_for_its_purchase() -> None:
    waiting = folded(line(1, 50, order=7, type=RETURN))
    assert (waiting.lines, waiting.spend, len(waiting.items)) == (0, 0, 0)
    assert fold(State.unpack(waiting.pack()), line(1, 0, order=7)).lines == 0
    assert fold(waiting, line(1, 60, order=8)).lines == 1


def test_a_return_reaches_the_newest_lines_of_a_long_history() -> None:
    history = np.concatenate([line(1 + at % 700, at, order=1 + at // 3, cents=100) for at in range(3_000)])
    base = fold(State.empty(), history)
    assert (len(base.ledger.lines), base.orders, base.lines) == (MOST_LINES, 1_000, 3_000)
    returned = fold(
        base, np.concatenate([line(1 + at % 700, 4_000, 1_000, type=RETURN) for at in (2_997, 2_998, 2_999)])
    )
    assert (returned.orders, returned.lines, returned.spend) == (999, 2_997, 299_700)
    assert returned.last == START + 2_996
    at_once = fold(State.empty(), np.concatenate([history, line(1, 4_000, order=1, type=RETURN)]))
    assert (at_once.orders, at_once.lines) == (1_000, 2_999), "in a history that is folded at once, it reaches any line"


def test_a_return_of_a_line_that_is_settled_counts_against_no_other_order() -> None:
    history = np.concatenate([line(1 + at, at, order=7) for at in range(MOST_LINES + 10)])
    base = fold(State.empty(), np.concatenate([history, line(1, 500, order=8)]))
    assert fold(base, line(1, 600, order=7, type=RETURN)).lines == base.lines


def test_a_low_rating_is_no_interest_and_a_rating_of_zero_is_none() -> None:
    rating = CODE[EventType.RATING]
    stars = folded(
        *(line(1 + at, at, type=rating, cents=cents) for at, cents in enumerate([0, 50, 200, 250, 300, 500]))
    )
    assert stars.disliked.tolist() == [2, 3]
    assert stars.items["item"].tolist() == [1, 4, 5, 6]
    assert {row["type"] for row in stars.recent if row["item"] in (2, 3)} == {CODE[EventType.DISLIKE]}


def test_the_newest_opinions_are_kept() -> None:
    state = folded(*(line(at, at, type=CODE[EventType.DISLIKE]) for at in range(1, 301)))
    assert state.disliked.tolist() == list(range(301 - MOST_OPINIONS, 301))
    assert len(state.pack()) < 3_600
