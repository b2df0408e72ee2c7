"""Rules of some days and hours begin and end by the clocks of their time zone."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from engine.rules.hours import Weekday
from engine.rules.rule import Rule
from engine.rules.rule_book import RuleBook
from engine.rules.settings import read_rule

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")
# around the days on which clocks change in these places
MOMENTS = st.sampled_from(("2026-03-28", "2026-10-24", "2026-04-04", "2026-11-01", "2026-06-30")).flatmap(
    lambda day: st.integers(0, 3 * 24 * 60).map(
        lambda minutes: datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(minutes=minutes)
    )
)
HOURS = st.tuples(st.integers(0, 23), st.integers(1, 24)).filter(lambda both: both[0] != both[1])
WHEN = st.fixed_dictionaries(
    {"timeZone": st.sampled_from(ZONES), "hours": HOURS.map(lambda both: {"from": both[0], "to": both[1]})},
    optional={"weekdays": st.lists(st.sampled_from([day.value for day in Weekday]), min_size=1, max_size=3)},
)


def rule(when: dict[str, Any]) -> Rule:
    return Rule.of("a", 1, read_rule({"kind": "EXCLUDE", "addedWithin": 1, "when": when}))


def is_in(when: dict[str, Any], moment: datetime) -> bool:
    """Whether the clocks of the place say so, in the plainest way."""
    local = moment.astimezone(ZoneInfo(when["timeZone"]))
    begin, end = when["hours"]["from"], when["hours"]["to"]
    hours = set(range(begin, end)) if begin < end else {*range(begin, 24), *range(end)}
    return local.hour in hours and f"{local:%A}".upper() in when.get("weekdays", [f"{local:%A}".upper()])


@settings(max_examples=300, deadline=None)
@given(WHEN, MOMENTS)
def test_a_rule_holds_on_its_days_and_hours_and_changes_at_no_other_moment_than_was_said(
    when: dict[str, Any], moment: datetime
) -> None:
    now, one = moment.timestamp(), rule(when)
    assert one.holds_at(now) == is_in(when, moment)
    until = RuleBook([one], now).until
    assert now < until <= now + 3_600
    for minutes in range(60):
        later = moment + timedelta(minutes=minutes)
        if later.timestamp() < until:
            assert is_in(when, later) == one.holds_at(now)


def test_days_and_hours_need_a_time_zone_that_is_known() -> None:
    for when, why in (
        ({"weekdays": ["MONDAY"]}, "weekdays and hours need timeZone"),
        ({"timeZone": "UTC"}, "timeZone needs weekdays or hours"),
        ({"timeZone": "Europe/Bonn", "weekdays": ["MONDAY"]}, "must be a time zone such as"),
        ({"timeZone": "../../etc/passwd", "weekdays": ["MONDAY"]}, "must be a time zone such as"),
        ({"timeZone": "UTC", "hours": {"from": 5, "to": 5}}, "has no hour in it"),
        ({"timeZone": "UTC", "hours": {"from": 24, "to": 5}}, "when.hours.from"),
    ):
        with pytest.raises(InvalidInput, match=why):
            rule(when)
