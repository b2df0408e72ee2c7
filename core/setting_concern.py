"""What the classes of settings share: the prefix of their names, secrets from files, and how texts are read."""

from pydantic import field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.secret_files import PREFIX, SECRET_REFUSED, SecretFiles, UnreadableSecret


class Concern(BaseSettings):
    """Settings of one concern, read from `PENCHANT_<NAME>`."""

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
        """Values given in code win over files of secrets, and these over the environment."""
        return init_settings, SecretFiles(settings_cls), env_settings

    @field_validator("*", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        """Report a secret that cannot be read as every other fault."""
        if isinstance(value, UnreadableSecret):
            raise PydanticCustomError(SECRET_REFUSED, "{reason}", {"reason": value.reason})
        return value


def separated(text: object) -> object:
    """The parts of a list with commas between."""
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def absolute(url: str | None) -> str | None:
    """Refuse a relative path: each process has its own current folder."""
    if url and "://" not in url and not url.startswith("/"):
        raise ValueError("must be an absolute path or an address, as /data/lake or s3://bucket/folder")
    return url
