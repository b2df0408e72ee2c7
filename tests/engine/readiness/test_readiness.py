"""Readiness: the limits are those of the code that refuses, and the counts are those of what is stored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from core import clock
from core.contract import read_event
from db.events import insert_events
from db.items import upsert_items
from db.postgres import Pool
from db.purchase_counts import PurchaseCounts, purchase_counts, purchase_span
from db.serving import Decision, Model
from engine.models.training import as_log, stored_purchases
from engine.readiness import readiness as module
from engine.readiness.readiness import (
    KeptReadiness,
    Status,
    Subject,
    judged,
    judged_forecast,
    judged_sequence,
    readiness,
)
from ml.gate import LEAST_PEOPLE
from ml.splits import DAY, HOLDOUT, LEAST_DAYS, holdout_cut

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PLENTY = PurchaseCounts(
    lines=5_000, known_lines=5_000, people=900, orders=2_000, repeat_people=500, returned_people=412, basket_people=300
)


def model(**evaluation: Any) -> Model:
    return Model("affinity-1", "affinity", NOW, "digest", evaluation, None)


def refused(reason: str) -> Decision:
    return Decision(1, NOW, "REFUSED", "affinity-2", None, reason, {}, "gate")


def statuses(*given: Any) -> dict[Subject, Status]:
    return {each.subject: each.status for each in judged(*given)}


def test_what_serves_is_trained_and_enough_data_is_ready() -> None:
    assert set(statuses(PLENTY, model(), None).values()) == {Status.TRAINED}
    assert set(statuses(PLENTY, None, None).values()) == {Status.READY}


def test_too_few_people_who_came_back_are_counted_out_in_words() -> None:
    few = PurchaseCounts(500, 500, 90, 200, 60, LEAST_PEOPLE - 1, 30)
    found = judged(few, None, None)[0]
    assert found.status is Status.NOT_ENOUGH
    assert found.summary.startswith(f"{LEAST_PEOPLE - 1} of {LEAST_PEOPLE} people with an earlier order")
    assert found.fallback == "what most people bought lately, and below it new items"
    enough = PurchaseCounts(500, 500, 90, 200, 60, LEAST_PEOPLE, 30)
    assert judged(enough, None, None)[0].status is Status.READY


def test_where_nobody_comes_back_items_alone_have_lists() -> None:
    nobody = replace(PLENTY, repeat_people=0, returned_people=0)
    assert statuses(nobody, None, None) == {
        Subject.RECOMMENDATIONS: Status.NOT_ENOUGH,
        Subject.SIMILAR: Status.READY,
        Subject.BOUGHT_TOGETHER: Status.READY,
    }


def test_a_baseline_that_serves_is_the_fallback_and_the_refusal_is_said() -> None:
    found = judged(PLENTY, model(baseline="personal_frequency"), refused("not better than popularity"))
    assert [each.status for each in found] == [Status.READY, Status.TRAINED, Status.TRAINED]
    assert found[0].fallback == "personal frequency, the best baseline"
    assert "not better than popularity" in found[0].summary


FORETELLABLE = replace(PLENTY, asked_people=800, asked_came=300)


def test_a_forecast_needs_days_and_people_of_both_kinds() -> None:
    assert judged_forecast(FORETELLABLE, LEAST_DAYS, None, None).status is Status.READY
    short = judged_forecast(FORETELLABLE, LEAST_DAYS - 1, None, None)
    assert short.summary == "34 of 35 days of purchases before the test span, with their real times."
    nobody_left = judged_forecast(replace(FORETELLABLE, asked_came=795), 90, None, None)
    assert nobody_left.summary == "5 of 10 of them did not order again."
    assert nobody_left.fallback == "nothing: churn and nextPurchase have no probability"
    baseline = judged_forecast(FORETELLABLE, 90, model(baseline="last_order"), refused("tells people apart less well"))
    assert (baseline.status, baseline.fallback) == (Status.READY, "last order, as a weekly regression")
    assert "tells people apart less well" in baseline.summary
    assert judged_forecast(FORETELLABLE, 90, model(), None).status is Status.TRAINED


def test_a_sequence_net_needs_people_who_rarely_buy_the_same_again() -> None:
    rarely, often = (replace(PLENTY, distinct_lines=5_000, first_lines=first) for first in (4_600, 4_400))
    assert judged_sequence(rarely, None).status is Status.READY
    found = judged_sequence(often, None)
    assert found.summary.startswith("88 of 90 percent of the purchases are of items that were new to the person")
    plain, net = (
        replace(model(), training={"sequence": {"variant": variant}}) for variant in ("ranker", "ranker_with_sequence")
    )
    assert judged_sequence(rarely, net).status is Status.TRAINED
    assert "compared it with the ranker alone" in judged_sequence(rarely, plain).summary


def test_an_empty_shop_lacks_everything() -> None:
    found = judged(PurchaseCounts(0, 0, 0, 0, 0, 0, 0), None, None)
    assert {each.status for each in found} == {Status.NOT_ENOUGH}
    assert "0 of 1 purchases that name an item of the catalogue" in found[0].summary


@pytest.fixture
async def purchases(pool: Pool) -> datetime:
    """Orders of milk and tea a hundred days long; the last day is the returned one."""
    end = clock.now() - timedelta(hours=1)
    await upsert_items(pool, [{"id": id, "updated_at": end} for id in ("milk", "tea")])
    sent_back = [("eve", "milk", "e2", 1)]
    lines = [
        ("ann", "milk", "a1", 100), ("ann", "tea", "a1", 100), ("ann", "milk", "a2", 1),  # an order of two, came back
        ("bob", "milk", None, 50), ("bob", "milk", None, 40),  # two orders, both before the cut
        ("cid", "tea", "c1", 0), ("cid", "milk", "c1", 0),  # one order
        ("dan", "unknown", "d1", 3),
        ("eve", "milk", "e1", 60), ("eve", "milk", "e2", 2),  # of two orders, kept the first
    ]  # fmt: skip
    await insert_events(
        pool,
        [
            read_event(
                {
                    "type": type, "userId": who, "itemId": item, "id": f"{who}-{item}-{days}",
                    "occurredAt": (end - timedelta(days=days)).isoformat(), **({"orderId": order} if order else {}),
                },
                source="shop",
                received_at=end,
            )
            for type, some in (("PURCHASE", lines), ("RETURN", sent_back))
            for who, item, order, days in some
        ],
    )  # fmt: skip
    return end


async def test_purchases_are_counted_by_person_and_order(pool: Pool, purchases: datetime) -> None:
    assert await purchase_span(pool) == (purchases - timedelta(days=100), purchases)
    counts = await purchase_counts(pool, *(purchases - timedelta(days=each) for each in (20, 45, -1)))
    assert counts == PurchaseCounts(
        lines=10, known_lines=9, people=4, orders=6, repeat_people=2, returned_people=1, basket_people=2,
        asked_people=3, asked_came=2, distinct_lines=8, first_lines=6,
    )  # fmt: skip
    assert counts.complete


async def test_only_a_bounded_number_of_lines_is_read(
    pool: Pool, purchases: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.purchase_counts.MOST_LINES", 3)
    counts = await purchase_counts(pool, purchases, purchases, purchases)
    assert (counts.lines, counts.complete) == (3, False)


async def test_readiness_of_a_database(pool: Pool, purchases: datetime) -> None:
    found = await readiness(pool)
    assert (found.lines, found.complete) == (10, True)
    assert {each.subject: each.status for each in found.models} == {
        Subject.RECOMMENDATIONS: Status.NOT_ENOUGH,
        Subject.SIMILAR: Status.READY,
        Subject.BOUGHT_TOGETHER: Status.NOT_ENOUGH,
        Subject.FORECASTS: Status.NOT_ENOUGH,
        Subject.SEQUENCE: Status.NOT_ENOUGH,
    }
    by_subject = {each.subject: each.requirements for each in found.models}
    assert [each.have for each in by_subject[Subject.FORECASTS]] == [9, 2, 80, 3, 1, 2]
    assert [each.have for each in by_subject[Subject.SEQUENCE]] == [4, 9, 75]
    assert found.models[0].requirements[-1].have == 1


async def test_counts_are_kept_for_a_minute(pool: Pool, purchases: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptReadiness(pool)
    first = await kept.read()
    assert await kept.read() is first
    monkeypatch.setattr(module, "KEPT_FOR", timedelta(0))
    assert await kept.read() is not first


async def test_the_test_span_is_that_of_a_training(pool: Pool) -> None:
    end, random = datetime(2026, 1, 1, tzinfo=UTC), np.random.default_rng(0)
    await upsert_items(pool, [{"id": "milk", "updated_at": end}])
    visits = [  # of each person some within half a year, sometime in four years
        (person, "milk", float(start - day))
        for person, start in enumerate(random.uniform(180, 1_400, 200))
        for day in random.uniform(0, 180, 4)
    ]
    ends = [(0, "milk", 1_400.0), (0, "milk", 0.0), (1, "unknown", 3_000.0)]
    events = [
        {
            "type": "PURCHASE", "userId": f"u{person}", "itemId": item, "id": f"{person}-{days}",
            "occurredAt": (end - timedelta(days=days)).isoformat(),
        }
        for person, item, days in [*visits, *ends]
    ]  # fmt: skip
    await insert_events(pool, [read_event(each, source="shop", received_at=end) for each in events])
    span = await purchase_span(pool)
    assert span is not None
    first, last = (int(moment.timestamp()) for moment in span)
    cut = await module.cut_of_lists(pool, first, last)
    log = as_log(await stored_purchases(pool, None), {})
    assert cut == holdout_cut(log, HOLDOUT) < last - 100 * DAY
    returned = len(np.intersect1d(log.between(None, cut).person, log.between(cut, None).person))
    assert (await readiness(pool)).models[0].requirements[-1].have == returned
