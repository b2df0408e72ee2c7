"""What could not be stored is kept for people to decide about.

Revision ID: 0003
Revises: 0002
"""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    _run(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Drop it, with everything nobody has decided about."""
    _run("DROP TABLE dead_events")


def _run(statements: str) -> None:
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
