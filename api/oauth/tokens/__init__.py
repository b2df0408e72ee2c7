"""Access tokens: claims, signing keys, issuing and verifying."""
