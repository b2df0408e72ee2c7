"""Keep events that could not be stored until a person decides about them.

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
    """Drop the table, with the dead events that wait for a decision."""
    run_sql("DROP TABLE dead_events")
