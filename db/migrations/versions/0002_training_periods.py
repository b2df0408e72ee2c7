"""A training that comes round again is asked for once a period, however many ask.

Revision ID: 0002
Revises: 0001
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the period."""
    _run(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Forget the periods."""
    _run("ALTER TABLE training_jobs DROP COLUMN period")


def _run(statements: str) -> None:
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
