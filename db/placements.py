"""Placements: what the shop wants of the lists of each, every version of it, and who changed it when and why."""

from typing import Final

from db.locks import AdvisoryLock
from db.versioned_settings import SettingsChanged, SettingsTable, StoredSettings

MOST_PLACEMENTS: Final = 1_000  # with settings

StoredPlacement = StoredSettings
PlacementChanged = SettingsChanged

PLACEMENTS: Final = SettingsTable("placements", AdvisoryLock.PLACEMENTS, MOST_PLACEMENTS, "placements")
save_placement = PLACEMENTS.save
placement_by_id = PLACEMENTS.by_id
placement_version = PLACEMENTS.version
list_placements = PLACEMENTS.listed
versions_of_placement = PLACEMENTS.versions
count_placements = PLACEMENTS.count
newest_change = PLACEMENTS.newest_change
