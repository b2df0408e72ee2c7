"""Compiles an operation that is asked often into a plan, which answers as graphql-core does, with less work."""
