"""Segments: groups of users that the shop defines, who belongs to them, and who joined or left."""
