"""Rules: what a merchandiser decides about items, every version of it, and who changed it when and why."""

from typing import Final

from db.locks import AdvisoryLock
from db.versioned_settings import SettingsTable

MOST_RULES: Final = 10_000

RULES: Final = SettingsTable("rules", AdvisoryLock.RULES, MOST_RULES)
