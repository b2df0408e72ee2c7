"""Keep placements: what the shop wants of each, with all earlier versions.

Revision ID: 0032
Revises: 0031
"""

from db.migrate import run_file, run_sql

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TABLE placements")
