"""GraphiQL for browsers: its built files, renewed by `make graphiql` from deploy/graphiql/, and the page."""
