"""How every long-running command starts: read the settings, then set up the logs they ask for."""

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from core.settings import Settings


def read_settings(*concerns: str) -> "Settings":
    """The settings of the environment; logs are written as they say from here on.

    Raises SettingsRefused, which names everything that is missing or wrong in these concerns and in `logging`.
    """
    from core.logs import configure_logs
    from core.setting_names import unknown_names
    from core.settings import Settings

    settings = Settings()
    settings.check(*concerns, "logging")
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    for name, nearest in unknown_names().items():
        structlog.get_logger().warning("setting_unknown", name=name, nearest=nearest)
    return settings
