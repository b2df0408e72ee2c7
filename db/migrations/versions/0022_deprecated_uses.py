"""Count the uses of deprecated parts of the schema.

Revision ID: 0022
Revises: 0021
"""

from db.migrate import run_file, run_sql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TABLE deprecated_uses")
