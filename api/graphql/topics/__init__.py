"""One file per topic of the schema: its types and resolvers."""
