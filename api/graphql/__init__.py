"""The GraphQL API: the schema, one file per topic, and how an operation is read, limited and run."""
