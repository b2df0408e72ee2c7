"""Users, items, events, what serves, training, OAuth, the outbox.

Revision ID: 0001
Revises:
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    _run(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Drop everything, with its data."""
    _run(
        "DROP TABLE loads, outbox, oauth_revocations, oauth_keys, oauth_clients, training_jobs, decisions, serving,"
        " models, events, items, users; DROP SEQUENCE items_changed_seq; DROP TYPE event_type;"
        " DROP FUNCTION ensure_event_partitions, stamp_item_change"
    )


def _run(statements: str) -> None:
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
