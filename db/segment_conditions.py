"""The conditions of a segment as SQL, over the figures of users, their traits and their events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

Definition = Mapping[str, Any]  # as `SegmentSettings.as_json` has it under `where`

_RANGES: Final = {
    "recency": (  # of null and 0 the greatest is 0
        "CASE WHEN figures.last_order IS NOT NULL THEN"
        " greatest(extract(epoch FROM {now} - figures.last_order) / 86400, 0) END"
    ),
    "orders": "figures.orders",
    "spent": "figures.cents / 100.0",
}
_TRAIT_IS: Final = """CASE jsonb_typeof(users.traits->{key})
    WHEN 'array' THEN EXISTS (
        SELECT FROM jsonb_array_elements_text(users.traits->{key}) AS each (value) WHERE value = ANY({values}::text[])
    ) ELSE users.traits->>{key} = ANY({values}::text[]) END"""
_TRAIT_NUMBER: Final = "CASE WHEN jsonb_typeof(users.traits->{key}) = 'number' THEN (users.traits->>{key})::numeric END"
_OF_ITEM: Final = {"categories": "categories && {}", "brands": "brand = ANY({})"}
_COUNTED: Final = """SELECT user_id, {count} AS number
    FROM events {items} WHERE type = {type}::event_type AND occurred_at > {since} AND user_id IS NOT NULL{matches}
    GROUP BY user_id"""
_ORDERS: Final = "count(DISTINCT coalesce(order_id, date_trunc('second', occurred_at)::text))"
LAST_WEEK: Final = 13  # of the figures: later weeks are like the one after it


@dataclass(slots=True)
class Query:
    """A query of the users for whom conditions hold, with what it takes."""

    now: datetime
    args: list[Any] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)  # queries that count events by user

    def text(self, where: Definition) -> str:
        """SQL: the ids of these users, once each.

        They are among those who ever bought, those with traits, and those with events that a condition names.
        """
        holds = self._all(where)
        counted = "".join(
            f" FULL JOIN ({query}) AS counted_{at} USING (user_id)" for at, query in enumerate(self.counts)
        )
        return (
            "SELECT user_id FROM (SELECT user_id FROM segment_figures AS figures"
            f" FULL JOIN (SELECT id AS user_id, traits FROM users) AS users USING (user_id){counted} WHERE {holds})"
            " AS found WHERE NOT EXISTS (SELECT FROM merged_users WHERE merged_users.user_id = found.user_id)"
        )

    def _given(self, value: object, kind: str) -> str:
        self.args.append(value)
        return f"${len(self.args)}::{kind}"

    def _all(self, where: Definition) -> str:
        """SQL: whether every condition holds; null or false where one does not."""
        parts = []
        if "rfm" in where:
            parts.append(f"figures.rfm = ANY({self._given(list(where['rfm']), 'text[]')})")
        for name, figure in _RANGES.items():
            if name in where:
                now = self._given(self.now, "timestamptz") if name == "recency" else ""
                parts.append(self._between(figure.format(now=now), where[name]))
        if "churn" in where:
            parts.append(self._between(self._no_order(where["churn"]["within"]), where["churn"]))
        if "next_purchase" in where:
            chance = f"1 - {self._no_order(where['next_purchase']['within'])}"
            parts.append(self._between(chance, where["next_purchase"]))
        parts += [self._trait(trait) for trait in where.get("traits", ())]
        parts += [self._share(affinity) for affinity in where.get("affinities", ())]
        parts += [self._events(events) for events in where.get("events", ())]
        if "any_of" in where:
            parts.append(" OR ".join(f"({self._all(each)})" for each in where["any_of"]))
        if "not" in where:
            parts.append(f"NOT coalesce({self._all(where['not'])}, false)")
        return " AND ".join(f"({part})" for part in parts)

    def _between(self, value: str, bounds: Mapping[str, Any]) -> str:
        signs = (("min", ">="), ("max", "<="))
        parts = [
            f"{value} {sign} {self._given(float(bounds[name]), 'float8')}" for name, sign in signs if name in bounds
        ]
        return " AND ".join(parts)

    def _no_order(self, days: int) -> str:
        """The probability of no order within some days, as `ml.hazard.forecasts.no_order` says it."""
        week = min(days // 7, LAST_WEEK)
        more = days / 7 - week
        return (
            f"exp({self._given(1 - more, 'float8')} * figures.quiet[{week + 1}]"
            f" + {self._given(more, 'float8')} * figures.quiet[{week + 2}])"
        )

    def _trait(self, trait: Mapping[str, Any]) -> str:
        key = self._given(trait["key"], "text")
        if "exists" in trait:
            return f"coalesce(users.traits ? {key}, false) = {self._given(trait['exists'], 'boolean')}"
        if "values" in trait:
            return _TRAIT_IS.format(key=key, values=self._given(list(trait["values"]), "text[]"))
        return self._between(_TRAIT_NUMBER.format(key=key), trait)

    def _share(self, affinity: Mapping[str, Any]) -> str:
        """Whether the share of the user's orders that have an item of a category or brand is so large."""
        keys = self._given([affinity["key"]], "text[]")
        matches = _OF_ITEM["categories" if affinity["by"] == "CATEGORY" else "brands"].format(keys)
        number = self._counted(_ORDERS, "PURCHASE", self._given(None, "interval"), f" AND {matches}")
        share = f"least(coalesce({number}, 0), figures.orders)::float8 / nullif(figures.orders, 0)"
        return self._between(share, affinity)

    def _events(self, events: Mapping[str, Any]) -> str:
        """Whether the user has so many events of a type within some days."""
        given = {name: self._given(list(events[name]), "text[]") for name in ("categories", "brands") if name in events}
        matches = "".join(f" AND {_OF_ITEM[name].format(keys)}" for name, keys in given.items())
        within = self._given(timedelta(days=events["within"]), "interval")
        return self._between(f"coalesce({self._counted('count(*)', events['type'], within, matches)}, 0)", events)

    def _counted(self, count: str, type: str, within: str, matches: str) -> str:
        """The name of a number that is counted for each user who has such events."""
        since = f"coalesce({self._given(self.now, 'timestamptz')} - {within}, '-infinity')"
        items = "JOIN items ON items.id = item_id" if matches else ""
        self.counts.append(
            _COUNTED.format(count=count, items=items, type=self._given(type, "text"), since=since, matches=matches)
        )
        return f"counted_{len(self.counts) - 1}.number"
