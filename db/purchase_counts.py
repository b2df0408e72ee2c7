"""What the stored purchases hold, counted over a bounded number of lines: for saying what can be learned from them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.postgres import Connection

MOST_LINES: Final = 300_000  # that are read; of more purchases the counts are those of so many

_SPAN = """
    SELECT min(occurred_at) AS first, max(occurred_at) AS last
    FROM (SELECT occurred_at FROM events WHERE type = 'PURCHASE' LIMIT $1) AS line
"""
_COUNTS = """
    WITH line AS MATERIALIZED (
        SELECT coalesce('u' || user_id, 'g' || anonymous_id) AS person, item_id, occurred_at,
            coalesce(order_id, date_trunc('second', occurred_at)::text) AS ordered, items.id IS NOT NULL AS known
        FROM (SELECT * FROM events WHERE type = 'PURCHASE' LIMIT $1) AS event LEFT JOIN items ON items.id = item_id
    ), placed AS (
        SELECT person, min(occurred_at) AS at, count(DISTINCT item_id) AS items
        FROM line WHERE known AND person IS NOT NULL GROUP BY person, ordered
    ), who AS (
        SELECT count(*) AS orders, min(at) < $2 AND max(at) >= $2 AS came_back, max(items) AS items,
            sum(items) AS lines,
            coalesce(bool_or(at < $3 AND at >= $3 - interval '365 days'), false) AS known, max(at) >= $3 AS later
        FROM placed GROUP BY person
    ), pair AS (
        SELECT DISTINCT person, item_id FROM line WHERE known AND person IS NOT NULL
    )
    SELECT (SELECT count(*) FROM line) AS lines,
        (SELECT count(*) FROM line WHERE known) AS known_lines,
        count(*) AS people,
        coalesce(sum(orders), 0)::bigint AS orders,
        count(*) FILTER (WHERE orders > 1) AS repeat_people,
        count(*) FILTER (WHERE came_back) AS returned_people,
        count(*) FILTER (WHERE items > 1) AS basket_people,
        count(*) FILTER (WHERE known) AS asked_people,
        count(*) FILTER (WHERE known AND later) AS asked_came,
        coalesce(sum(who.lines), 0)::bigint AS distinct_lines,
        (SELECT count(*) FROM pair) AS first_lines
    FROM who
"""


@dataclass(frozen=True, slots=True)
class PurchaseCounts:
    """What the purchases hold. All counts but `lines` are of lines that name an item of the catalogue."""

    lines: int
    known_lines: int
    people: int
    orders: int
    repeat_people: int  # with two orders or more
    returned_people: int  # with an order before the cut and one after it
    basket_people: int  # with an order of two items or more
    asked_people: int = 0  # with an order in the year before the forecast's cut
    asked_came: int = 0  # of those, who ordered after it too
    distinct_lines: int = 0  # an item of an order counts once
    first_lines: int = 0  # of those, of items that the person had not ordered before

    @property
    def complete(self) -> bool:
        """Whether all purchases were counted."""
        return self.lines < MOST_LINES


async def purchase_span(connection: Connection) -> tuple[datetime, datetime] | None:
    """When the first and the last of the lines that `purchase_counts` counts were bought; None for no purchases."""
    row = await connection.fetchrow(_SPAN, MOST_LINES)
    return None if row["first"] is None else (row["first"], row["last"])


async def purchase_counts(connection: Connection, cut: datetime, forecast_cut: datetime) -> PurchaseCounts:
    """The counts; `returned_people` are of the cut of the lists' model, `asked_people` of that of the forecast."""
    return PurchaseCounts(**await connection.fetchrow(_COUNTS, MOST_LINES, cut, forecast_cut))


NO_PURCHASES: Final = PurchaseCounts(0, 0, 0, 0, 0, 0, 0)
