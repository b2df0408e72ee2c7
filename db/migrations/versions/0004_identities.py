"""A guest is joined to the user they turned out to be.

Revision ID: 0004
Revises: 0003
"""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the joined guests."""
    _run(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Forget who was joined; the events they brought stay the users'."""
    _run("DROP TABLE identities")


def _run(statements: str) -> None:
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
