"""What MLflow mirrors: whether it is behind what is registered and serves here, and its versions of models."""

from datetime import timedelta
from typing import Final

from db.postgres import Connection

MIRROR: Final = "mlflow"  # the kind of work, in messages to the trainers
MOST: Final = 20  # newest models of each kind that MLflow mirrors: older ones are rarely looked at
ASK_AGAIN_AFTER: Final = timedelta(minutes=5)


async def note_version(connection: Connection, model: str, version: str) -> None:
    """Keep which version MLflow gave to a model."""
    await connection.execute("UPDATE models SET registry_version = $2 WHERE id = $1", model, version)


async def note_mirrored(connection: Connection, generation: int | None, forecast_generation: int | None) -> None:
    """The aliases mirror the serving rows of these generations: of the lists' model and of the forecast.

    None where nothing served. From here on MLflow is kept up.
    """
    await connection.execute(
        "INSERT INTO mlflow_mirror (generation, forecast_generation) VALUES ($1, $2) ON CONFLICT (one) DO UPDATE"
        " SET generation = EXCLUDED.generation, forecast_generation = EXCLUDED.forecast_generation, asked_at = NULL",
        generation,
        forecast_generation,
    )


async def note_behind(connection: Connection) -> None:
    """MLflow was away: it mirrors nothing yet, unless it did before. From here on it is kept up."""
    await connection.execute("INSERT INTO mlflow_mirror (generation) VALUES (NULL) ON CONFLICT (one) DO NOTHING")


async def claim_mirroring(connection: Connection) -> bool:
    """Whether MLflow is behind, a trainer mirrored before, and none was asked to for ASK_AGAIN_AFTER."""
    claimed = await connection.fetchval(
        """
        UPDATE mlflow_mirror SET asked_at = now()
        WHERE (asked_at IS NULL OR asked_at < now() - $1::interval) AND (
            generation IS DISTINCT FROM (SELECT generation FROM serving WHERE slot = 'main')
            OR forecast_generation IS DISTINCT FROM (SELECT generation FROM serving WHERE slot = 'forecast')
            OR EXISTS (
                SELECT FROM (
                    SELECT registry_version,
                        row_number() OVER (PARTITION BY kind ORDER BY created_at DESC, id DESC) AS age
                    FROM models
                ) AS newest
                WHERE registry_version IS NULL AND age <= $2
            )
        )
        RETURNING true
        """,
        ASK_AGAIN_AFTER,
        MOST,
    )
    return claimed is True
