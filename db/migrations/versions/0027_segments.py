"""Keep segments: their definitions, and who belonged to them when.

Revision ID: 0027
Revises: 0026
"""

from db.migrate import run_file, run_sql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("DROP TABLE segment_members, segment_snapshots, segments")
