"""The HTTP routes outside GraphQL and OAuth: bulk uploads, health, metrics."""
