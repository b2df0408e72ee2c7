"""Tell bundles with refreshed tables, and the decisions to serve them, from models and their promotions.

Revision ID: 0029
Revises: 0027
"""

from db.migrate import run_file, run_sql

revision = "0029"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE decisions DROP COLUMN refreshed; ALTER TABLE models DROP COLUMN refreshed_from")
