"""Record when an item was added.

Revision ID: 0010
Revises: 0009
"""

from db.migrate import run_file, run_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("ALTER TABLE items DROP COLUMN created_at")
