"""What the stored purchases hold, counted over a bounded number of lines: for saying what can be learned from them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.postgres import Connection

MOST_LINES: Final = 300_000  # that are read; of more purchases the counts are those of so many

_SPAN = """
    SELECT min(occurred_at) AS first, max(occurred_at) AS last
    FROM (SELECT occurred_at, item_id FROM events WHERE type = 'PURCHASE' LIMIT $1) AS line
    JOIN items ON items.id = item_id
"""
_BY_WEEK = """
    WITH person AS (
        SELECT min(occurred_at) AS first, max(occurred_at) AS last
        FROM (
            SELECT coalesce('u' || user_id, 'g' || anonymous_id) AS person, occurred_at, item_id
            FROM events WHERE type = 'PURCHASE' LIMIT $1
        ) AS line
        JOIN items ON items.id = item_id
        WHERE person IS NOT NULL GROUP BY person
    ), moment AS (
        SELECT first AS at, 1 AS came, 0 AS lapsed FROM person UNION ALL SELECT last, 0, 1 FROM person
    )
    SELECT least(greatest(ceil(extract(epoch FROM $2 - at) / 604800), 0), $3)::int AS weeks,
        sum(came) AS came, sum(lapsed) AS lapsed
    FROM moment GROUP BY weeks
"""
# What was returned whole, by its order, counts for nothing: a training learns from what people kept.
_COUNTS = """
    WITH returned AS MATERIALIZED (
        SELECT coalesce('u' || user_id, 'g' || anonymous_id) AS person, item_id, order_id,
            sum(coalesce(quantity, 1)) AS units
        FROM (SELECT * FROM events WHERE type = 'RETURN' AND order_id IS NOT NULL LIMIT $1) AS event GROUP BY 1, 2, 3
    ), bought AS MATERIALIZED (
        SELECT coalesce('u' || user_id, 'g' || anonymous_id) AS person, item_id, order_id, occurred_at,
            coalesce(quantity, 1) AS quantity, items.id IS NOT NULL AS known
        FROM (SELECT * FROM events WHERE type = 'PURCHASE' LIMIT $1) AS event LEFT JOIN items ON items.id = item_id
    ), line AS MATERIALIZED (
        SELECT person, item_id, occurred_at, known,
            coalesce(order_id, date_trunc('second', occurred_at)::text) AS ordered
        FROM bought LEFT JOIN returned USING (person, item_id, order_id) WHERE quantity > coalesce(units, 0)
    ), sold AS (
        SELECT item_id FROM line GROUP BY item_id HAVING min(occurred_at) < $2
    ), back AS (
        SELECT DISTINCT person FROM line JOIN sold USING (item_id) WHERE known AND occurred_at >= $2
    ), placed AS (
        SELECT person, min(occurred_at) AS at, count(DISTINCT item_id) AS items
        FROM line WHERE known AND person IS NOT NULL GROUP BY person, ordered
    ), who AS (
        SELECT person, count(*) AS orders, min(at) < max(at) AS repeated, min(at) < $2 AS early, max(items) AS items,
            sum(items) AS lines,
            coalesce(bool_or(at < $3 AND at >= $3 - interval '365 days'), false) AS known,
            bool_or(at >= $3 AND at < $4) AS later
        FROM placed GROUP BY person
    ), pair AS (
        SELECT DISTINCT person, item_id FROM line WHERE known AND person IS NOT NULL
    )
    SELECT (SELECT count(*) FROM bought) AS lines,
        (SELECT count(*) FROM bought WHERE known) AS known_lines,
        count(*) AS people,
        coalesce(sum(orders), 0)::bigint AS orders,
        count(*) FILTER (WHERE repeated) AS repeat_people,
        count(*) FILTER (WHERE early AND back.person IS NOT NULL) AS returned_people,
        count(*) FILTER (WHERE items > 1) AS basket_people,
        count(*) FILTER (WHERE known) AS asked_people,
        count(*) FILTER (WHERE known AND later) AS asked_came,
        coalesce(sum(who.lines), 0)::bigint AS distinct_lines,
        (SELECT count(*) FROM pair) AS first_lines
    FROM who LEFT JOIN back USING (person)
"""


@dataclass(frozen=True, slots=True)
class PurchaseCounts:
    """What the purchases hold.

    All counts but `lines` are of lines that name an item of the catalogue; from `people` on, of what people kept.
    """

    lines: int
    known_lines: int
    people: int
    orders: int
    repeat_people: int  # with orders at two moments or more
    returned_people: int  # with an order before the cut, and after it one of an item that was sold before it
    basket_people: int  # with an order of two items or more
    asked_people: int = 0  # with an order in the year before the forecast's cut
    asked_came: int = 0  # of those, who ordered in the whole days after it too
    distinct_lines: int = 0  # an item of an order counts once
    first_lines: int = 0  # of those, of items that the person had not ordered before

    @property
    def complete(self) -> bool:
        """Whether all purchases were counted."""
        return self.lines < MOST_LINES


async def purchase_span(connection: Connection) -> tuple[datetime, datetime] | None:
    """When the first and the last of the known lines that `purchase_counts` counts were bought; None for none."""
    row = await connection.fetchrow(_SPAN, MOST_LINES)
    return None if row["first"] is None else (row["first"], row["last"])


async def people_by_week(connection: Connection, before: datetime, most: int) -> tuple[list[int], list[int]]:
    """By weeks before a moment, those begun included, the people whose first and whose last known line is so old.

    Both lists have 0 to `most` weeks: 0 are lines since that moment, `most` are those of so many weeks or more.
    """
    came, lapsed = [0] * (most + 1), [0] * (most + 1)
    for row in await connection.fetch(_BY_WEEK, MOST_LINES, before, most):
        came[row["weeks"]], lapsed[row["weeks"]] = row["came"], row["lapsed"]
    return came, lapsed


async def purchase_counts(
    connection: Connection, cut: datetime, forecast_cut: datetime, forecast_end: datetime
) -> PurchaseCounts:
    """The counts; `returned_people` are of the cut of the lists' model, `asked_people` of the forecast's test span."""
    return PurchaseCounts(**await connection.fetchrow(_COUNTS, MOST_LINES, cut, forecast_cut, forecast_end))


NO_PURCHASES: Final = PurchaseCounts(0, 0, 0, 0, 0, 0, 0)
