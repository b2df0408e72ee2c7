"""Access tokens: their claims and signing keys, how they are issued and verified."""
