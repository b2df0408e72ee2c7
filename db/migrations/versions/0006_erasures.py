"""Record erasures, and reject events from before them.

Revision ID: 0006
Revises: 0005
"""

from db.migrate import run_file, run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add erasures and tombstones."""
    run_file(__file__)


def downgrade() -> None:
    """Drop the tables: late events of erased people are stored again."""
    run_sql("DROP TABLE tombstones, erasures, erasure_keys")
