"""Let a client have a rate and a daily quota of its own.

Revision ID: 0019
Revises: 0018
"""

from db.migrate import run_file, run_sql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE oauth_clients DROP COLUMN rate, DROP COLUMN daily_quota")
