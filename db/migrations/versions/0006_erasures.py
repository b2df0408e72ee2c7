"""A person is erased, and what they did before does not come back.

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
    """Forget who was erased: late events of theirs are kept again."""
    run_sql("DROP TABLE tombstones, erasures, erasure_keys")
