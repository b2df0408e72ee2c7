"""The files of the demo's shop, made from the real log."""

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cli.demo.household_log import CUT, LogCounts, ShopFiles, readable, whole_weeks
from core.contract import LONGEST_ID


def test_every_line_is_an_event_or_in_the_holdout_or_counted_as_left_out(
    household_shop: tuple[LogCounts, ShopFiles],
) -> None:
    counts, files = household_shop
    assert counts.lines == 1_469_307
    assert counts.households == 2_469
    assert counts.no_quantity == 8_869
    assert counts.events + counts.holdout + counts.no_quantity + counts.no_name == counts.lines
    assert pq.read_metadata(files.events).num_rows == counts.events


def test_the_cut_is_moved_to_now_by_whole_weeks(household_shop: tuple[LogCounts, ShopFiles], made_at: datetime) -> None:
    events, holdout = (
        pq.read_table(file, columns=["occurredAt"]) for file in (household_shop[1].events, household_shop[1].holdout)
    )
    cut = CUT + whole_weeks(made_at)
    assert timedelta(0) <= made_at - cut < timedelta(weeks=1)
    assert cut.weekday() == CUT.weekday()
    assert pc.max(events["occurredAt"]).as_py() < cut <= pc.min(holdout["occurredAt"]).as_py()


def test_every_event_has_its_own_id_and_a_known_item(household_shop: tuple[LogCounts, ShopFiles]) -> None:
    events = pq.read_table(household_shop[1].events, columns=["id", "itemId"])
    items = pq.read_table(household_shop[1].items, columns=["id"])
    assert pc.count_distinct(events["id"]).as_py() == events.num_rows
    assert pc.all(pc.is_in(events["itemId"], value_set=items["id"].combine_chunks())).as_py()


def test_items_have_a_title_categories_and_a_positive_price_or_none(
    household_shop: tuple[LogCounts, ShopFiles],
) -> None:
    items = pq.read_table(household_shop[1].items)
    assert items["title"].null_count == 0
    assert items["groupId"].equals(items["title"]), "items of one title are variants of each other"
    assert pc.max(pc.utf8_length(items["groupId"])).as_py() <= LONGEST_ID
    assert pc.min(pc.list_value_length(items["categories"])).as_py() >= 1
    assert pc.min(items["price"]).as_py() > 0


def test_the_most_active_user_comes_first(household_shop: tuple[LogCounts, ShopFiles]) -> None:
    events = pq.read_table(household_shop[1].events, columns=["userId", "orderId"])
    first = pq.read_table(household_shop[1].people)["userId"][0].as_py()
    orders = events.group_by("userId").aggregate([("orderId", "count_distinct")])
    most = pc.max(orders["orderId_count_distinct"])
    assert orders.filter(pc.equal(orders["userId"], first))["orderId_count_distinct"][0] == most


def test_names_that_the_log_cut_off_are_made_readable() -> None:
    names = pa.chunked_array([["CANDY BARS (SINGLES)(INCLUDING", "BREAD:ITALIAN/FRENCH", "(ODD", "A   B"]])
    assert readable(names).to_pylist() == ["Candy Bars (Singles)", "Bread: Italian/French", "(Odd", "A B"]
