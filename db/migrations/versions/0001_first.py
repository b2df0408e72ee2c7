"""Create users, items, events, models and the serving row, training jobs, OAuth, the outbox.

Revision ID: 0001
Revises:
"""

from db.migrate import run_file, run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    run_file(__file__)


def downgrade() -> None:
    """Drop everything, with its data."""
    run_sql(
        "DROP TABLE loads, outbox, oauth_revocations, oauth_keys, oauth_clients, training_jobs, decisions, serving,"
        " models, events, items, users; DROP SEQUENCE items_changed_seq; DROP TYPE event_type;"
        " DROP FUNCTION ensure_event_partitions, stamp_item_change"
    )
