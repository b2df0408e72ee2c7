"""Keep all versions of the definitions of segments.

Revision ID: 0034
Revises: 0033
"""

from db.migrate import run_file, run_sql

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and a version for each segment that is there."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TRIGGER keep_segment_version ON segments")
    run_sql("DROP FUNCTION keep_segment_version")
    run_sql("DROP TABLE segment_versions")
