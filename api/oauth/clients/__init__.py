"""OAuth clients: their registration, secrets and authentication."""
