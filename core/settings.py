"""Every setting in one place. Each is read from the environment as `PENCHANT_<NAME>`; secrets have no default.

A secret may stand in a file instead, named by `PENCHANT_<NAME>_FILE`.
"""

from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.secret_files import PREFIX, SecretFiles

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class _Concern(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What code gives goes first, then files of secrets, then the environment."""
        return init_settings, SecretFiles(settings_cls), env_settings


class Stores(_Concern):
    """Where Postgres, Redis (or Valkey), RabbitMQ and the model bundles are."""

    postgres_url: SecretStr = Field(description="Postgres >= 15, as postgresql://user:password@host:port/database.")
    redis_url: SecretStr = Field(description="Redis >= 7 or Valkey, as redis://:password@host:port/database.")
    broker_url: SecretStr = Field(description="RabbitMQ >= 3.10, as amqp://user:password@host:port/vhost.")
    mlflow_url: SecretStr | None = Field(
        None,
        description="MLflow's tracking store (its own database); without it models are registered in Postgres only.",
    )
    bundles: Path = Field(
        Path("bundles"), description="Folder of trained model bundles, shared by trainer and gateway."
    )
    postgres_pool: int = Field(10, ge=1, description="Most Postgres connections per process.")
    postgres_timeout: float = Field(5.0, gt=0, description="Seconds one Postgres statement may take.")
    redis_timeout: float = Field(
        0.5, gt=0, description="Seconds one Redis pipeline may take before the answer degrades."
    )


class Gateway(_Concern):
    """The HTTP process."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    public_url: str = Field(
        "http://127.0.0.1:8000", description="Base URL as clients see it: the token issuer. No trailing slash is kept."
    )
    secret: SecretStr = Field(
        min_length=32, description="At least 32 random characters: signs cursors and impressions, seals signing keys."
    )
    graphiql: bool = Field(False, description="Serve browsers a page to try queries at /graphql.")
    request_timeout: float = Field(5.0, gt=0, description="Seconds a GraphQL request may run; also to receive a body.")
    max_body: int = Field(1_048_576, ge=1024, description="Bytes a request body may have.")
    serving_poll: float = Field(
        2.0, gt=0, description="Seconds between looks at what serves and what changed in the catalogue."
    )
    popular_window: int = Field(28, ge=1, description="Days of purchases the fallback list counts.")


class Ingest(_Concern):
    """How events are batched on their way to the broker."""

    linger: float = Field(0.025, ge=0, description="Seconds an event may wait for company in its batch.")
    max_batch: int = Field(500, ge=1, le=500, description="Events per message.")
    max_in_flight: int = Field(8, ge=1, description="Unconfirmed messages per process.")
    max_waiting: int = Field(
        20_000, ge=500, description="Events waiting in a process before callers are told to retry."
    )
    confirm_timeout: float = Field(
        2.0,
        gt=0,
        description="Seconds to wait for the broker's confirm; below `request_timeout`, so that the outbox can answer.",
    )


class Tokens(_Concern):
    """Lifetimes of what the authorization server hands out."""

    person_ttl: int = Field(900, ge=60, description="Seconds a person's access token lives.")
    client_ttl: int = Field(3600, ge=60, description="Seconds a client's own access token lives.")


class Logging(_Concern):
    """What is logged."""

    log_level: LogLevel = Field("INFO", description="Least level that is logged.")
    log_json: bool | None = Field(None, description="JSON lines; by default unless standard error is a terminal.")


class Watching(_Concern):
    """Who may see how it goes. Traces have variables of OpenTelemetry: `OTEL_EXPORTER_OTLP_ENDPOINT` turns them on."""

    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that /metrics asks for; without one it answers direct callers on this machine only.",
    )
    worker_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port where the worker answers /metrics; without one it does not."
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address that port is opened on; it asks for no token.")


class Schedule(_Concern):
    """What comes round by itself where `penchant beat` runs."""

    retrain_daily: bool = Field(True, description="Whether a training is asked for every day.")
    retrain_at: time = Field(time(3), description="Time of day, in UTC, of the daily training, as HH:MM.")


class EventLake(_Concern):
    """The events as files, at an address of your own. Its credentials stand in the storage's own variables."""

    lake_url: str | None = Field(
        None,
        description="Where events are exported to, as file:///folder or s3://bucket/folder; without one nothing is.",
    )
    lake_at: time = Field(time(2), description="Time of day, in UTC, of the daily export, as HH:MM.")
    lake_training: bool = Field(
        False, description="Whether trainings read the days that are in the lake from there, and Postgres for the rest."
    )
    events_keep: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="Days events stay in Postgres: older months go once they are in the lake. By default all stay.",
    )

    @field_validator("lake_url")
    @classmethod
    def _same_everywhere(cls, url: str | None) -> str | None:
        """Every process has a current folder of its own."""
        if url and "://" not in url and not url.startswith("/"):
            raise ValueError("a lake is at an address, or at a path from the root: /data/lake, s3://bucket/folder")
        return url


class Settings:
    """All concerns, each read from the environment when first asked for: a worker needs no gateway secret."""

    @cached_property
    def stores(self) -> Stores:
        return Stores()

    @cached_property
    def gateway(self) -> Gateway:
        return Gateway()

    @cached_property
    def ingest(self) -> Ingest:
        return Ingest()

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens()

    @cached_property
    def logging(self) -> Logging:
        return Logging()

    @cached_property
    def watching(self) -> Watching:
        return Watching()

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule()

    @cached_property
    def lake(self) -> EventLake:
        return EventLake()
