"""What could not be stored is kept for people to decide about.

Revision ID: 0003
Revises: 0002
"""

from db.migrate import run_file, run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it, with everything nobody has decided about."""
    run_sql("DROP TABLE dead_events")
