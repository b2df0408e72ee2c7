"""Routes outside GraphQL and OAuth: bulk uploads, health, metrics."""
