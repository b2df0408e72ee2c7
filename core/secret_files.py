"""Secrets from files: `PENCHANT_<NAME>_FILE` names a file that holds the value of `PENCHANT_<NAME>`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from core.errors import PenchantError

PREFIX = "PENCHANT_"
SECRET_REFUSED = "secret_refused"  # the type of this fault in a ValidationError


class SecretRefused(PenchantError):
    """A secret is given twice, or its file cannot be read."""


def read_secret(name: str) -> str | None:
    """The environment variable `name`, or the file that `<name>_FILE` names, without its line end; None for neither.

    Raises SecretRefused when both are given, or when the file cannot be read or is empty.
    """
    given, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not file:
        return given or None
    if given:
        raise SecretRefused(f"{name}_FILE: {name} is set too: keep one of them.")
    try:
        secret = Path(file).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretRefused(f"{name}_FILE: {file} cannot be read: {error}") from None
    if not secret:
        raise SecretRefused(f"{name}_FILE: {file} is empty.")
    return secret


@dataclass(frozen=True, slots=True)
class UnreadableSecret:
    """Stands for a secret that cannot be read, so that this is told together with the other wrong settings."""

    reason: str


def is_secret(field: FieldInfo) -> bool:
    """Whether the setting may be in a file."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


class SecretFiles(PydanticBaseSettingsSource):
    """A source of settings: the secrets that are in files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret in the field's file, an UnreadableSecret, or None."""
        name = PREFIX + field_name.upper()
        try:
            return (read_secret(name) if os.environ.get(f"{name}_FILE") else None), field_name, False
        except SecretRefused as error:
            return UnreadableSecret(str(error)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All secrets found in files, by field."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
            if is_secret(field)
        }
        return {name: secret for name, secret in found.items() if secret is not None}
