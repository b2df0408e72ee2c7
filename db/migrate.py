"""Brings the database's schema to a revision, by Alembic."""

from pathlib import Path
from threading import Lock
from typing import Protocol

from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from db.psycopg_errors import psycopg_errors

MIGRATIONS = Path(__file__).parent / "migrations"
_ALEMBIC_LOCK = Lock()  # Alembic keeps its context in globals


class _Step(Protocol):
    def __call__(self, config: Config, revision: str) -> None: ...


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` up to `revision`. Raises StoreUnavailable when it cannot be reached."""
    _run(command.upgrade, url, revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database at `url` back to `revision` ("base" is before the first). Raises StoreUnavailable."""
    _run(command.downgrade, url, revision)


def head() -> str:
    """The newest revision of this program."""
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert newest is not None
    return newest


def revisions() -> set[str]:
    """Every revision of this program."""
    return {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def sync_url(url: str) -> str:
    """The same address for SQLAlchemy's psycopg driver."""
    return "postgresql+psycopg://" + url.partition("://")[2]


def run_file(script: str) -> None:
    """Run the SQL file that lies beside a migration's script, inside the migration."""
    run_sql(Path(script).with_suffix(".sql").read_text())


def run_sql(statements: str) -> None:
    """Run any number of SQL statements, inside a migration."""
    # Without parameters the driver takes many statements at once and leaves colons and percent signs alone.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def _run(step: _Step, url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    try:
        with _ALEMBIC_LOCK:
            step(config, revision)
    except OperationalError as error:
        with psycopg_errors():
            raise error.orig or error from error
