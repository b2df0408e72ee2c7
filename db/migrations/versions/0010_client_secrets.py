"""Let a client have two secrets while its secret is changed.

Revision ID: 0010
Revises: 0009
"""

from db.migrate import run_file, run_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE oauth_clients DROP COLUMN previous_hash, DROP COLUMN previous_until")
