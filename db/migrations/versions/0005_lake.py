"""What the event lake has to remember: whose it is, which months are only there, which exports are due.

Revision ID: 0005
Revises: 0004
"""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    _run(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Forget them."""
    _run("DROP TABLE lake_origin, lake_drops, lake_exports")


def _run(statements: str) -> None:
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
