"""The GraphQL schema, a file per topic, and how an operation is read, limited and run."""
