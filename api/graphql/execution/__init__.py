"""How valid operations run: graphql-core's executor, with shortcuts that may not change an answer."""
