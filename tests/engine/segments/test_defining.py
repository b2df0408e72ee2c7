"""Segments are checked when they are saved, and every version of them is kept."""

from typing import Any

import pytest

from core.errors import InvalidInput
from db.postgres import Pool
from db.segments import SEGMENTS, delete_segment, list_segments, save_segment
from db.versioned_settings import SettingsChanged
from engine.segments.defining import checked, create_segment, update_segment

ANY = {"orders": {"min": 1}}


async def saved(pool: Pool, id: str = "s") -> None:
    await save_segment(pool, id, "Name", ANY, "tests")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "where"),
        ({"orders": {}}, "where"),
        ({"color": "red"}, "where.color"),
        (["rfm"], "where"),
        ({"rfm": "LOYAL"}, "where.rfm"),
        ({"rfm": ["LOYAL", "LOYAL"]}, "where.rfm"),
        ({"rfm": ["BEST"]}, "where.rfm.0"),
        ({"orders": {"min": "1"}}, "where.orders.min"),
        ({"orders": {"min": True}}, "where.orders.min"),
        ({"orders": {"low": 1}}, "where.orders.low"),
        ({"recency": {"min": -1}}, "where.recency.min"),
        ({"recency": {"min": float("nan")}}, "where.recency.min"),
        ({"spent": {"min": 10**400}}, "where.spent.min"),
        ({"spent": {"min": 2, "max": 1}}, "where.spent"),
        ({"churn": {"within": 90}}, "where.churn"),
        ({"churn": {"min": 1.5}}, "where.churn.min"),
        ({"churn": {"min": 0.9, "max": 0.2}}, "where.churn"),
        ({"churn": {"days": 3, "min": 0.5}}, "where.churn.days"),
        ({"churn": {"within": 366, "min": 0.5}}, "where.churn.within"),
        ({"next_purchase": {"within": 1.5, "min": 0.5}}, "where.next_purchase.within"),
        ({"next_purchase": {"within": True, "min": 0.5}}, "where.next_purchase.within"),
        ({"next_purchase": 0.5}, "where.next_purchase"),
    ],
)
def test_a_wrong_condition_is_refused_and_named(document: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked("s", {"where": document})
    assert refused.value.field == field


@pytest.mark.parametrize(("id", "name", "field"), [("", "n", "id"), ("a b", "n", "id"), ("s", "", "name")])
async def test_a_wrong_id_or_name_is_refused(pool: Pool, id: str, name: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await create_segment(pool, id, {"name": name, "where": ANY}, "tests")
    assert refused.value.field == field


async def test_every_version_of_a_segment_is_kept(pool: Pool) -> None:
    made = await create_segment(pool, "s", {"name": "Many", "where": ANY}, "anna", "a mailing")
    assert (made.version, made.reason) == (1, "a mailing")
    changes = {"name": None, "where": {"orders": None, "nextPurchase": {"min": 0.5}}}
    changed = await update_segment(pool, "s", changes, "bert", expected=1)
    assert (changed.version, changed.name, changed.changed_by) == (2, "s", "bert")
    assert changed.definition == {"next_purchase": {"within": 30, "min": 0.5}}
    assert await update_segment(pool, "s", {"where": {"recency": {"max": 9}}}, "bert") != changed
    assert (await update_segment(pool, "s", {"where": {"recency": None}}, "bert")).definition == changed.definition
    assert (await update_segment(pool, "s", {}, "cid")).version == 4, "nothing changed"
    await delete_segment(pool, "s", "bert")
    versions = await SEGMENTS.versions(pool, "s", 9)
    assert [(each.version, each.changed_by) for each in versions[::4]] == [(5, "bert"), (1, "anna")]
    assert versions[0].settings is None
    again = await create_segment(pool, "s", {"where": ANY}, "anna")
    assert (again.version, again.name) == (6, "s")


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"where": None}, "where"), ({"where": {"orders": None}}, "where"), ({"where": {"orders": {"max": -1}}}, None)],
)
async def test_a_wrong_change_changes_nothing(pool: Pool, changes: dict[str, Any], field: str | None) -> None:
    await saved(pool)
    with pytest.raises(InvalidInput) as refused:
        await update_segment(pool, "s", changes, "tests")
    assert refused.value.field == (field or "where.orders.max")
    assert [each.version for each in await list_segments(pool)] == [1]


async def test_an_id_that_is_taken_or_unknown_is_refused(pool: Pool) -> None:
    await saved(pool)
    with pytest.raises(InvalidInput, match="There is a segment"):
        await create_segment(pool, "s", {"where": ANY}, "tests")
    with pytest.raises(InvalidInput, match="There is no segment"):
        await update_segment(pool, "none", {"where": ANY}, "tests")
    with pytest.raises(SettingsChanged):
        await update_segment(pool, "s", {"name": "New"}, "tests", expected=0)
    with pytest.raises(SettingsChanged):
        await delete_segment(pool, "s", "tests", expected=2)


async def test_what_the_release_before_saves_and_deletes_has_versions_too(pool: Pool) -> None:
    save = (
        "INSERT INTO segments (id, name, definition, changed_by) VALUES ('s', $1, $2, 'old') ON CONFLICT (id)"
        " DO UPDATE SET name = EXCLUDED.name, definition = EXCLUDED.definition, changed_by = EXCLUDED.changed_by"
    )
    await pool.execute(save, "Name", ANY)
    await pool.execute(save, "Name", ANY)
    await update_segment(pool, "s", {"name": "New"}, "new", expected=1)
    await pool.execute(save, "Old", ANY)
    await pool.execute("UPDATE segments SET due_at = now()")
    await pool.execute("DELETE FROM segments")
    versions = await SEGMENTS.versions(pool, "s", 9)
    names = [(each.version, each.settings and each.settings["name"], each.changed_by) for each in versions]
    assert names == [(4, None, "old"), (3, "Old", "old"), (2, "New", "new"), (1, "Name", "old")]


def test_conditions_are_read_as_they_are_written() -> None:
    document = {"rfm": ["LOYAL"], "orders": {"min": 2}, "churn": {"within": 90, "min": 0.6}}
    assert checked("s", {"where": document})["where"] == document
    assert checked("s", {"where": {"nextPurchase": {"max": 0.1}}})["where"] == {
        "next_purchase": {"within": 30, "max": 0.1}
    }
