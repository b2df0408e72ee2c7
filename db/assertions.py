"""Client assertions that were used: each authenticates its client once, in all processes."""

from datetime import timedelta
from typing import Any, Final

import psycopg

MOST_AT_ONCE: Final = 100  # expired rows deleted with each new one


def use_assertion(connection: psycopg.Connection[Any], client_id: str, jti_hash: bytes, life: timedelta) -> bool:
    """Note that the client used the assertion of this id; False when it did so before. Blocks.

    The note is kept for `life`: until the assertion has expired.
    """
    connection.execute(
        """DELETE FROM oauth_assertions WHERE (client_id, jti_hash) IN (
               SELECT client_id, jti_hash FROM oauth_assertions WHERE expires_at < now()
               LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (MOST_AT_ONCE,),
    )
    used = connection.execute(
        """INSERT INTO oauth_assertions (client_id, jti_hash, expires_at) VALUES (%s, %s, now() + %s)
           ON CONFLICT DO NOTHING RETURNING client_id""",
        (client_id, jti_hash, life),
    )
    return used.fetchone() is not None
