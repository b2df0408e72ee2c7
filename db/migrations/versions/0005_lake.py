"""Record the lake's database, the months that are only in the lake, and the exports that are due.

Revision ID: 0005
Revises: 0004
"""

from db.migrate import run_file, run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    run_file(__file__)


def downgrade() -> None:
    """Drop the tables."""
    run_sql("DROP TABLE lake_origin, lake_drops, lake_exports")
