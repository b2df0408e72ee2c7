"""Let a client have two secrets while its secret is changed.

Revision ID: 0014
Revises: 0013
"""

from db.migrate import run_file, run_sql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE oauth_clients DROP COLUMN previous_hash, DROP COLUMN previous_until")
