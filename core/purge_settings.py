"""The settings of the purge webhook."""

from base64 import b64decode
from typing import Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from core.addresses import split_address
from core.errors import InvalidInput
from core.setting_concern import Concern

SECRET_PREFIX: Final = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64  # bytes of a secret, as Standard Webhooks wants them


class Purges(Concern):
    """The webhook that tells a CDN's receiver what to drop (docs/cdn.md). Nothing is sent without URL and secret."""

    purge_url: SecretStr | None = Field(
        None,
        description="Address that the purge webhook is sent to: https, or http on this machine. Unset: none is sent.",
    )
    purge_secret: SecretStr | None = Field(
        None,
        validate_default=True,
        description="Signs the purge webhook: 24 to 64 random bytes in base64 after whsec_, as in Standard Webhooks.",
    )
    purge_secret_previous: SecretStr | None = Field(
        None, description="A second secret that signs too, while the receiver's secret is changed. Unset: none."
    )
    purge_delay: float = Field(
        3.0,
        ge=0,
        le=60,
        description="Seconds from a change to its purge, in which every gateway learns of it: PENCHANT_SERVING_POLL and"
        " a second.",
    )

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys that sign, the newest first."""
        given = (self.purge_secret, self.purge_secret_previous)
        return tuple(_key_of(secret.get_secret_value()) for secret in given if secret is not None)

    @field_validator("purge_url")
    @classmethod
    def _is_safe(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                split_address(url.get_secret_value(), "PENCHANT_PURGE_URL")
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        return url

    @field_validator("purge_secret", "purge_secret_previous")
    @classmethod
    def _is_key(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret is not None:
            _key_of(secret.get_secret_value())
        elif info.field_name == "purge_secret" and info.data.get("purge_url") is not None:
            raise ValueError("PENCHANT_PURGE_URL needs it: nothing is sent unsigned")
        return secret


def _key_of(secret: str) -> bytes:
    """The key in a secret of Standard Webhooks. Raises ValueError, without the secret."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise ValueError(f"must be base64, after {SECRET_PREFIX}") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(f"must hold {SHORTEST_KEY} to {LONGEST_KEY} bytes, in base64")
    return key
