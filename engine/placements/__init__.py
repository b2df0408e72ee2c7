"""Placements: what the shop wants of the lists of each, checked, kept with all versions, and ready for lists."""
