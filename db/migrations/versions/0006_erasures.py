"""A person is erased, and what they did before does not come back.

Revision ID: 0006
Revises: 0005
"""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add erasures and tombstones."""
    _run(Path(__file__).with_suffix(".sql").read_text())


def downgrade() -> None:
    """Forget who was erased: late events of theirs are kept again."""
    _run("DROP TABLE tombstones, erasures, erasure_keys")


def _run(statements: str) -> None:
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
