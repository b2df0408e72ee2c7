"""The public schemas, GraphQL and events: generated, compared with the committed ones, checked for breaking changes."""
