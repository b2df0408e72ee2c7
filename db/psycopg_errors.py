"""One error while Postgres is away, for code that uses psycopg. Only the gateway and the beat load psycopg."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from core.errors import StoreFull, StoreUnavailable
from db.postgres import POSTGRES_FULL


@contextmanager
def psycopg_errors() -> Iterator[None]:
    """Wrap code that uses psycopg in this.

    It raises StoreUnavailable when Postgres cannot be reached or does not answer in time.
    """
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StoreFull("postgres", POSTGRES_FULL) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable("postgres", f"Postgres did not answer: {str(error).strip()}") from error
