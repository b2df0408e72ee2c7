"""Keep our own envelope in the outbox and with dead events.

Revision ID: 0007
Revises: 0006
"""

from db.migrate import run_file, run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop the columns: `body` still holds every message."""
    run_sql("ALTER TABLE outbox DROP COLUMN envelope")
    run_sql("ALTER TABLE dead_events DROP COLUMN envelope_version, DROP COLUMN envelope_id")
