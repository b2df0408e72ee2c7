"""How every long-running command starts: read the settings, then set up the logs they ask for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.settings import Settings


def read_settings() -> "Settings":
    """The settings of the environment; logs are written as they say from here on."""
    from core.logs import configure_logs
    from core.settings import Settings

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    return settings
