"""Every setting in one place. Each is read from the environment as `PENCHANT_<NAME>`; secrets have no default.

A secret may be in a file instead, named by `PENCHANT_<NAME>_FILE`.
"""

from datetime import time
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode

from core import evidence_settings
from core.errors import InvalidInput
from core.purge_settings import Purges
from core.rates import read_rate
from core.setting_concern import Concern, absolute, separated
from core.setting_faults import Fault, SettingsRefused, faults_in

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Stores(Concern):
    """Where Postgres, Redis (or Valkey), RabbitMQ and the model bundles are."""

    postgres_url: SecretStr = Field(description="Postgres >= 15, as postgresql://user:password@host:port/database.")
    redis_url: SecretStr = Field(description="Redis >= 7 or Valkey, as redis://:password@host:port/database.")
    broker_url: SecretStr = Field(description="RabbitMQ >= 3.10, as amqp://user:password@host:port/vhost.")
    mlflow_url: SecretStr | None = Field(
        None,
        description="MLflow's tracking store (its own database); without it models are registered in Postgres only.",
    )
    mlflow_artifacts: str | None = Field(
        None,
        description="Folder for the reports that MLflow shows, as /data/reports or s3://bucket/reports; unset: only an"
        " MLflow server that takes artifacts itself gets them.",
    )
    bundles: Path = Field(
        Path("bundles"), description="Folder of trained model bundles, shared by trainer and gateway."
    )
    postgres_pool: int = Field(10, ge=1, description="Largest number of Postgres connections per process.")
    postgres_timeout: float = Field(5.0, gt=0, description="Seconds one Postgres statement may take.")
    redis_timeout: float = Field(
        0.5, gt=0, description="Seconds one Redis pipeline may take; after that the answer is degraded."
    )

    @field_validator("mlflow_artifacts")
    @classmethod
    def _same_everywhere(cls, url: str | None) -> str | None:
        return absolute(url)


class Lists(Concern):
    """Lists of items, in every process that makes them."""

    popular_window: int = Field(28, ge=1, description="Days of purchases that the list of popular items counts.")
    dislikes_hold: int = Field(
        365,
        ge=1,
        le=3_653,
        description="Days that a disliked item stays hidden from the person's lists, unless they like or buy it later.",
    )
    lists_url: str | None = Field(
        None,
        description="Folder for the files of all users' lists that trainers write, as /data/lists or s3://bucket/lists;"
        " unset: none are written.",
    )
    lists_daily: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], NoDecode] = Field(
        (),
        max_length=20,
        description="Placements whose lists of all users are written every day, separated by commas.",
    )
    lists_at: time = Field(time(5), description="Time of day, in UTC, of these files, as HH:MM.")
    lists_keep: int = Field(
        30,
        ge=1,
        le=3_653,
        description="Days after which a file of lists that a trainer wrote is deleted: it names users.",
    )

    @field_validator("lists_daily", mode="before")
    @classmethod
    def _split(cls, names: object) -> object:
        return separated(names)

    @field_validator("lists_url")
    @classmethod
    def _same_everywhere(cls, url: str | None) -> str | None:
        return absolute(url)


class Gateway(Concern):
    """The HTTP process."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    probe_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of /healthz, /readyz and /metrics, at the same address; the last two are then only there."
        " Unset: the main port answers them.",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Addresses and networks of your proxies, with commas between. Only their X-Forwarded-For is used,"
        " and only for the address of the caller.",
    )
    public_url: str = Field(
        "http://127.0.0.1:8000",
        description="Base URL that clients use; it is the token issuer. A trailing slash is removed.",
    )
    secret: SecretStr = Field(
        min_length=32,
        description="At least 32 random characters: signs cursors and impressions, encrypts signing keys.",
    )
    secret_previous: SecretStr | None = Field(
        None,
        min_length=32,
        description="A second secret that is accepted and never used for new texts, while PENCHANT_SECRET is changed"
        " (docs/operating.md).",
    )
    issuers_proxy: SecretStr | None = Field(
        None,
        description="Address of an HTTP proxy through which the keys of foreign issuers are read; unset: none.",
    )
    graphiql: bool = Field(False, description="Whether /graphql serves browsers GraphiQL, a page to try queries.")
    tokenless_client: str | None = Field(
        None,
        description="A client whose public trusted documents (docs/cdn.md) answer GETs without a token. Unset: none.",
    )
    request_timeout: float = Field(
        5.0, gt=0, description="Seconds a GraphQL request may run, and seconds to receive its body."
    )
    max_body: int = Field(1_048_576, ge=1024, description="Largest request body, in bytes.")
    serving_poll: float = Field(
        2.0, gt=0, description="Seconds between two checks of the serving row and of the catalogue's changes."
    )
    reason_texts: Path | None = Field(
        None, description="A TOML file with the shop's own texts of reasons (docs/lists.md). Unset: ours alone."
    )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that are accepted. The first one signs and encrypts."""
        return tuple(secret.get_secret_value() for secret in (self.secret, self.secret_previous) if secret is not None)

    @field_validator("issuers_proxy")
    @classmethod
    def _is_web_address(cls, proxy: SecretStr | None) -> SecretStr | None:
        """Refuse an address that no request can be sent to."""
        if proxy is not None and not proxy.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return proxy

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split(cls, networks: object) -> object:
        return separated(networks)


class Ingest(Concern):
    """How events are batched on their way to the broker."""

    linger: float = Field(0.025, ge=0, description="Seconds an event may wait for its batch to fill.")
    max_batch: int = Field(500, ge=1, le=500, description="Largest number of events in one message.")
    max_in_flight: int = Field(8, ge=1, description="Largest number of unconfirmed messages per process.")
    max_waiting: int = Field(
        20_000, ge=500, description="Largest number of events that wait in a process; then callers must retry."
    )
    confirm_timeout: float = Field(
        2.0,
        gt=0,
        description="Seconds to wait for the broker's confirm; below `request_timeout`, so that the outbox can answer.",
    )
    person_events_back: int = Field(
        90,
        ge=1,
        le=3_653,
        description="Days back that an event sent with a person's token may have occurred. Older ones are rejected.",
    )


class Tokens(Concern):
    """Lifetimes of the tokens that the authorization server issues."""

    person_ttl: int = Field(900, ge=5, le=86_400, description="Seconds a person's access token is valid.")
    client_ttl: int = Field(3600, ge=5, le=86_400, description="Seconds a client's own access token is valid.")
    signing_key_days: int = Field(
        90, ge=0, le=3_653, description="Days after which a gateway makes a new key to sign tokens. 0: never."
    )
    refresh_idle: int = Field(
        2_592_000, ge=60, description="Seconds a refresh token is valid if it is not used; 30 days."
    )
    refresh_absolute: int = Field(
        7_776_000, ge=60, description="Seconds after its sign-in that a person must sign in again; 90 days."
    )


class SignIn(Concern):
    """The pages where people sign in."""

    shop_name: str = Field(
        "", max_length=80, description="Name of the shop on the pages; unset or empty: the host of public_url."
    )
    session_idle: int = Field(
        86_400, ge=60, description="Seconds after which a person must sign in again who did not come back before."
    )
    session_lifetime: int = Field(
        1_209_600, ge=60, le=31_536_000, description="Seconds after which everybody must sign in again."
    )


class Rates(Concern):
    """How much callers may ask for, in units: docs/rates.md says what a unit is. `off` or `0` sets no limit."""

    rate_client: str = Field(
        "12000000/minute", description="Units of one client with all people whose tokens it holds, in all gateways."
    )
    rate_person: str = Field("60000/minute", description="Units of one person's or guest's tokens, in all gateways.")
    rate_address: str = Field(
        "6000/minute",
        description="Units of one address, in all gateways: requests without a valid token, and failed token requests.",
    )

    @field_validator("rate_client", "rate_person", "rate_address")
    @classmethod
    def _is_rate(cls, text: str) -> str:
        """Refuse a text that is no rate."""
        try:
            read_rate(text)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return text


class Logging(Concern):
    """Logs: level and format."""

    log_level: LogLevel = Field("INFO", description="Lowest level that is logged.")
    log_json: bool | None = Field(
        None, description="Log JSON lines. The default is true unless standard error is a terminal."
    )


class Watching(Concern):
    """Access to metrics. Traces are set up by OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that /metrics asks for; without one it answers direct callers on this machine only.",
    )
    worker_metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port where the worker answers /metrics; unset: no port."
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address of that port. It asks for no token.")


class Schedule(Concern):
    """The daily training and the daily refresh of what serves, which `penchant beat` starts."""

    retrain_daily: bool = Field(True, description="Whether a training is requested every day.")
    retrain_at: time = Field(time(3), description="Time of day, in UTC, of the daily training, as HH:MM.")
    refresh_daily: bool = Field(
        True, description="Whether the tables of what serves are rebuilt every day, with the same weights."
    )
    refresh_at: time = Field(time(2), description="Time of day, in UTC, of the daily refresh, as HH:MM.")
    refresh_new_items: int = Field(
        300, ge=0, le=86_400, description="Seconds at least between refreshes for new items; 0: none for them."
    )


class Trainings(evidence_settings.Evidence):
    """What a training may use. One that uses more is stopped, fails with the reason, and is not tried again."""

    training_deadline: int = Field(43_200, ge=1, description="Seconds a training may take; 12 hours.")
    training_memory: int | None = Field(
        None,
        ge=64,
        description="MiB of memory a training may hold. Unset: nine tenths of what the container or the machine has.",
    )


class Bundles(Concern):
    """How long trained bundles are kept. The one that serves and the one a rollback leads to always are."""

    bundles_keep: int = Field(10, ge=1, le=10_000, description="Newest bundles that are kept, refused ones included.")
    bundles_keep_served: int = Field(
        90, ge=1, le=3_653, description="Days that a bundle is kept after it last served, however many are newer."
    )


class EventLake(Concern):
    """The events as files, at an address of your own. Its credentials are in the storage's own variables."""

    lake_url: str | None = Field(
        None,
        description="Address of the export, as file:///folder or s3://bucket/folder; unset: no export.",
    )
    loads_url: str | None = Field(
        None,
        description="Address for the manifests of loaded files, by which a load is taken back; unset: beside the lake.",
    )
    lake_at: time = Field(time(2), description="Time of day, in UTC, of the daily export, as HH:MM.")
    lake_training: bool = Field(
        False, description="Whether trainings read the exported days from the lake and the other days from Postgres."
    )
    events_keep: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="Days events stay in Postgres. Older months are dropped once the lake has them, and older events"
        " that arrive are rejected. Unset: all stay.",
    )

    @field_validator("lake_url", "loads_url")
    @classmethod
    def _same_everywhere(cls, url: str | None) -> str | None:
        return absolute(url)


class Settings:
    """All concerns, each read from the environment when it is first used: a worker needs no gateway secret."""

    def check(self, *concerns: str) -> None:
        """Read these concerns now. Raises SettingsRefused, which names everything that is missing or wrong in them."""
        if faults := self.faults(*concerns):
            raise SettingsRefused(faults)

    def faults(self, *concerns: str) -> list[Fault]:
        """Everything that is missing or wrong in these concerns."""
        found: list[Fault] = []
        for name in concerns:
            try:
                getattr(self, name)
            except ValidationError as error:
                found += faults_in(error)
        return found

    @cached_property
    def stores(self) -> Stores:
        return Stores()

    @cached_property
    def gateway(self) -> Gateway:
        return Gateway()

    @cached_property
    def lists(self) -> Lists:
        return Lists()

    @cached_property
    def ingest(self) -> Ingest:
        return Ingest()

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens()

    @cached_property
    def sign_in(self) -> SignIn:
        return SignIn()

    @cached_property
    def rates(self) -> Rates:
        return Rates()

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
    def trainings(self) -> Trainings:
        return Trainings()

    @cached_property
    def bundles(self) -> Bundles:
        return Bundles()

    @cached_property
    def lake(self) -> EventLake:
        return EventLake()

    @cached_property
    def purges(self) -> Purges:
        return Purges()


CONCERNS: Final = tuple(name for name, kind in vars(Settings).items() if isinstance(kind, cached_property))
