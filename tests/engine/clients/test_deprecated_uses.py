"""Uses of deprecated parts are counted by client, and stored when the database answers."""

from typing import Any

from core.errors import StoreUnavailable
from db.deprecated_uses import list_deprecated_uses
from db.postgres import Pool
from engine.clients.deprecated_uses import MAX_PAIRS, DeprecatedUses


class Away:
    """A database that does not answer."""

    async def execute(self, *_: Any) -> None:
        raise StoreUnavailable("postgres", "away")


async def test_operations_are_counted_by_client_and_part(pool: Pool) -> None:
    uses = DeprecatedUses(pool)
    uses.note("web", {"Item.imageUrl", "RecommendationEdge.score"})
    uses.note("web", {"Item.imageUrl"})
    await uses.write()
    uses.note("web", {"Item.imageUrl"})
    uses.note("app", {"Item.imageUrl"})
    await uses.write()
    stored = await list_deprecated_uses(pool, 90)
    assert {(each.part, each.client_id): each.operations for each in stored} == {
        ("Item.imageUrl", "web"): 3,
        ("Item.imageUrl", "app"): 1,
        ("RecommendationEdge.score", "web"): 1,
    }
    assert {each.client_id for each in await list_deprecated_uses(pool, 90, "app")} == {"app"}


async def test_old_days_are_not_shown_and_are_deleted(pool: Pool) -> None:
    await pool.execute(
        """INSERT INTO deprecated_uses (client_id, part, day, operations)
           VALUES ('web', 'Old.field', current_date - 300, 1), ('web', 'Older.field', current_date - 60, 2)"""
    )
    assert [each.part for each in await list_deprecated_uses(pool, 30)] == []
    uses = DeprecatedUses(pool)
    uses.note("web", {"Item.imageUrl"})
    await uses.write()
    parts = [row["part"] for row in await pool.fetch("SELECT part FROM deprecated_uses ORDER BY part")]
    assert parts == ["Item.imageUrl", "Older.field"]


async def test_counts_wait_while_the_database_is_away_and_have_a_bound(pool: Pool) -> None:
    uses = DeprecatedUses(Away())  # type: ignore[arg-type]
    for number in range(MAX_PAIRS + 5):
        uses.note(f"client-{number}", {"Item.imageUrl"})
    await uses.write()
    uses.note("client-0", {"Item.imageUrl"})
    uses._connection = pool
    await uses.write()
    stored = {each.client_id: each.operations for each in await list_deprecated_uses(pool, 1)}
    assert len(stored) == MAX_PAIRS and stored["client-0"] == 2
