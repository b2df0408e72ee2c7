"""People: guests joined to users, everything exported or erased on request."""
