"""Keep the figures of users that segments are about.

Revision ID: 0035
Revises: 0034
"""

from db.migrate import run_file, run_sql

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("DROP TABLE segment_figures, segment_figures_made")
